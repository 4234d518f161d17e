"""Timing, with a clock of ours."""

import numpy as np
import pytest
from benchmark_models import Clock

from casvit_mm.engine.timing import Schedule, WallTimer, in_turn, speed_up, statistics


def test_each_call_is_timed_by_itself():
    clock = Clock()
    lengths = iter([1.0, 3.0, 2.0])
    assert WallTimer(clock).time(lambda: clock.passing(next(lengths))(), 3) == [1.0, 3.0, 2.0]


def test_calls_settle_for_the_time_asked_for():
    clock = Clock()
    WallTimer(clock).settle(clock.passing(0.25), 0.6)
    assert clock.now == 0.75


def test_a_call_settles_once_however_short_the_time():
    clock = Clock()
    WallTimer(clock).settle(clock.passing(5.0), 0.0)
    assert clock.now == 5.0


def test_everyone_has_a_turn_in_every_round():
    order = []
    visits = [lambda i=i: order.append(i) for i in range(5)]
    in_turn(visits, Schedule(rounds=6, calls=1, settle=0.0, seed=0))
    rounds = [order[i : i + 5] for i in range(0, 30, 5)]
    assert [sorted(each) for each in rounds] == [[0, 1, 2, 3, 4]] * 6
    assert len(set(map(tuple, rounds))) > 1


def test_results_stay_with_their_call_whatever_the_order():
    kept = in_turn([lambda: 'a', lambda: 'b'], Schedule(rounds=4, calls=1, settle=0.0, seed=3))
    assert kept == [['a'] * 4, ['b'] * 4]


def test_the_ratio_is_right_although_the_machine_slows_down_during_the_run():
    slowdown = np.array([1.0, 1.0, 7.0, 3.0, 1.0])[:, None]
    baseline, other = np.full((5, 2), 0.020) * slowdown, np.full((5, 2), 0.010) * slowdown
    assert speed_up(baseline, other) == pytest.approx(dict(median=2.0, q1=2.0, q3=2.0))


def test_one_disturbed_round_does_not_move_the_ratio():
    baseline, other = np.full((5, 3), 0.020), np.full((5, 3), 0.010)
    other[2] = 0.5
    assert speed_up(baseline, other)['median'] == pytest.approx(2.0)


def test_statistics_are_percentiles_in_milliseconds():
    found = statistics(np.arange(101).reshape(1, 101) / 1000)
    assert found == pytest.approx(dict(min=0, q1=25, p50=50, q3=75, p90=90, p99=99, max=100))
