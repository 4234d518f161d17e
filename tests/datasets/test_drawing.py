"""How a set is taken apart: shares, classes in balance, folds."""

import random
from collections import Counter

import pytest

from casvit_mm.datasets.drawing import cut_folds, draw_shares
from casvit_mm.datasets.grouping import Unit

SHARES = {'train': 0.7, 'val': 0.2, 'test': 0.1}


def units_of(classes, sizes=None):
    """One unit per entry of ``classes``, which names what is in it."""
    sizes = sizes or [1] * len(classes)
    return [
        Unit(tuple(f'{i:04d}_{k}' for k in range(size)), frozenset(names))
        for i, (names, size) in enumerate(zip(classes, sizes, strict=True))
    ]


def classes_of(units, part):
    return Counter(name for unit in units if unit.names[0] in part for name in unit.classes)


@pytest.mark.parametrize('seed', range(5))
def test_shares_are_kept_within_an_image_and_classes_in_balance(seed):
    counts = {'a': 101, 'b': 40, 'c': 7, 'd': 3, 'e': 2, 'f': 1}
    units = units_of([[name] for name, count in counts.items() for _ in range(count)])
    parts = draw_shares(units, SHARES, seed)
    assert sum(map(len, parts.values())) == 154
    for name, share in SHARES.items():
        assert abs(len(parts[name]) - 154 * share) <= 1
        found = classes_of(units, parts[name])
        for kind in 'ab':
            assert abs(found[kind] - counts[kind] * share) <= 2
    assert set(classes_of(units, parts['train'])) == set(counts)
    assert set(classes_of(units, parts['val'])) == set('abcde')
    assert set(classes_of(units, parts['test'])) == set('abcd')


@pytest.mark.parametrize('seed', range(5))
def test_images_of_several_classes_are_drawn_by_the_rarest(seed):
    rng = random.Random(seed)
    weights = {'a': 0.9, 'b': 0.4, 'c': 0.05, 'd': 0.02}
    classes = [[n for n, w in weights.items() if rng.random() < w] for _ in range(300)]
    units = units_of(classes)
    parts = draw_shares(units, {'train': 0.8, 'val': 0.2}, seed)
    assert abs(len(parts['val']) - 60) <= 1
    common = Counter(name for names in classes for name in names)
    for name in weights:
        if common[name] > 1:
            assert all(classes_of(units, part)[name] for part in parts.values())


def test_a_draw_follows_its_seed():
    units = units_of([['a']] * 20)
    draws = [draw_shares(units, SHARES, seed) for seed in (1, 1, 2)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


def test_groups_stay_whole_and_the_shares_hold_where_they_allow():
    units = units_of([['a']] * 60, [10] * 3 + [4] * 7 + [1] * 50)
    parts = draw_shares(units, {'train': 0.75, 'val': 0.25}, 0)
    assert abs(len(parts['val']) - 27) <= 1
    for unit in units:
        assert sum(part >= {*unit.names} for part in parts.values()) == 1


def test_a_part_is_empty_where_units_do_not_suffice():
    assert draw_shares(units_of([['a'], ['b']]), {'train': 0.5, 'val': 0.5}, 0)['val'] == set()


def test_folds_are_cut_by_images_or_where_groups_are_large_by_groups():
    singles = cut_folds(units_of([[]] * 7), 3)
    assert [len(part) for part in singles] == [2, 2, 3]
    even = cut_folds(units_of([[]] * 5, [1, 1, 2, 1, 3]), 2)
    assert [len(part) for part in even] == [4, 4]
    large = cut_folds(units_of([[]] * 3, [50, 1, 1]), 3)
    assert [len(part) for part in large] == [50, 1, 1]


@pytest.mark.parametrize('folds', [3, 5])
def test_folds_have_their_share_of_every_class_and_of_all_images(folds):
    rng = random.Random(folds)
    weights = {'a': 0.9, 'b': 0.4, 'c': 0.06, 'd': 0.03}
    units = units_of([[n for n, w in weights.items() if rng.random() < w] for _ in range(200)])
    parts = cut_folds(units, folds)
    assert sorted(name for part in parts for name in part) == [unit.names[0] for unit in units]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for name in weights:
        counts = [classes_of(units, part)[name] for part in parts]
        assert max(counts) - min(counts) <= max(2, 0.25 * max(counts))


def test_folds_of_many_small_classes_are_of_one_size():
    units = units_of([[f'{i // 7}'] for i in range(140)])
    parts = cut_folds(units, 3)
    assert sorted(map(len, parts)) == [46, 47, 47]
    # Neighbours stay together: the k-th block of every class is in the k-th fold.
    assert all({2, 3} >= set(classes_of(units, part).values()) for part in parts)
