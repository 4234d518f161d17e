"""Signals that end a run, noted by the training process and outlived by its workers."""

import os
import signal
import time

import pytest

from casvit_mm.engine.interrupt import (
    deferring_signals,
    exit_status,
    highest,
    outlive_signals,
    signal_received,
)


@pytest.fixture(autouse=True)
def handlers():
    """Give every signal the handler of a fresh interpreter, and restore what was there."""
    fresh = {signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    fresh[signal.SIGINT] = signal.default_int_handler
    before = {signum: signal.signal(signum, handler) for signum, handler in fresh.items()}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize(
    ('signum', 'status'), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_signal_is_noted_and_the_handlers_come_back(signum, status):
    with deferring_signals():
        assert signal_received() == 0
        os.kill(os.getpid(), signum)
        assert exit_status(signal_received()) == exit_status(highest(signal_received())) == status
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    assert signal.getsignal(signum) in (signal.SIG_DFL, signal.default_int_handler)


@pytest.mark.parametrize('first', [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_after_a_signal_ends_the_process_at_once(first):
    pid = os.fork()
    if pid == 0:
        with deferring_signals():
            os.kill(os.getpid(), first)
            os.kill(os.getpid(), signal.SIGINT)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGINT


def test_a_forked_process_ends_by_its_signals_as_a_pool_of_a_metric_expects():
    ready, tell = os.pipe()
    with deferring_signals():
        child = os.fork()
        if not child:
            os.write(tell, b'.')
            time.sleep(5)
            os._exit(0)
        os.read(ready, 1)
        os.kill(child, signal.SIGTERM)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
    assert signal_received() == 0


def test_a_signal_that_is_ignored_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with deferring_signals():
        os.kill(os.getpid(), signal.SIGHUP)
        assert signal_received() == 0


@pytest.mark.parametrize(
    ('text', 'ending'),
    [('gloo/transport/tcp/pair.cc: Connection closed', SystemExit), ('no shape', RuntimeError)],
)
def test_a_process_that_is_told_to_end_since_another_is_lost_ends_quietly(text, ending):
    def fail(told):
        with deferring_signals():
            if told:
                os.kill(os.getpid(), signal.SIGTERM)
            raise RuntimeError(text)

    with pytest.raises(ending):
        fail(told=True)
    with pytest.raises(RuntimeError):
        fail(told=False)


@pytest.mark.parametrize(
    ('signum', 'deferring', 'status'),
    [
        (signal.SIGTERM, True, 7),
        (signal.SIGHUP, True, 7),
        (signal.SIGINT, True, 7),
        (signal.SIGTERM, False, 0),
        (signal.SIGINT, False, 7),
    ],
)
def test_a_worker_outlives_signals_while_its_parent_defers_them(signum, deferring, status):
    def worker():
        outlive_signals(0)
        os.kill(os.getpid(), signum)
        os._exit(7)

    def fork():
        pid = os.fork()
        if pid == 0:
            worker()
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    if deferring:
        with deferring_signals():
            assert fork() == status
    else:
        assert fork() == status
