"""Workers that begin and end as their training process needs them to."""

import os
import re
import signal
import socket
import time
from contextlib import contextmanager

import pytest
import torch
import torch.distributed as dist
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from casvit_mm.distributed.processes import _is_tcp
from casvit_mm.engine import training
from casvit_mm.engine.data_loading import (
    DeadWorkerError,
    SampleError,
    dead_workers_told,
    guard,
    read_batches,
    take_batch,
)


class _Connections(Dataset):
    """Whether a socket of the training process is open, and a random number."""

    def __init__(self, number):
        self.number = number

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return _is_tcp(self.number), torch.rand(1).item()


@pytest.fixture
def connection():
    with socket.create_server(('127.0.0.1', 0)) as server:
        yield server.fileno()


def load(connection, change=lambda loader: loader, seed=5):
    config = dict(dataset=_Connections(connection), sampler=None, batch_size=1, num_workers=1)
    loader = change(Runner.build_dataloader(config, seed=seed))
    return [(is_open[0], drawn[0]) for is_open, drawn in loader]


def test_workers_let_go_of_the_connections_of_a_group_and_are_seeded_as_before(connection):
    dist.init_process_group('gloo', store=dist.HashStore(), rank=0, world_size=1)
    try:
        before, guarded = load(connection), load(connection, guard)
    finally:
        dist.destroy_process_group()
    assert [is_open for is_open, _ in before] == [True, True]
    assert [is_open for is_open, _ in guarded] == [False, False]
    assert [drawn for _, drawn in guarded] == [drawn for _, drawn in before]


def test_without_a_group_workers_keep_connections_and_the_users_function_is_called(connection):
    loader = DataLoader(
        _Connections(connection), num_workers=1, worker_init_fn=lambda number: torch.manual_seed(3)
    )
    (_, drawn), _ = list(guard(loader))
    assert load(connection, guard)[0][0]
    assert drawn.item() == pytest.approx(torch.rand(1, generator=_seeded(3)).item())


def _seeded(seed):
    generator = torch.Generator()
    generator.manual_seed(seed)
    return generator


class _Damaged(Dataset):
    def __len__(self):
        return 2

    def get_data_info(self, index):
        return dict(img_path=f'{index}.jpg', seg_map_path=f'{index}.png')

    def __getitem__(self, index):
        raise ValueError('two\nlines')


@pytest.mark.parametrize('num_workers', [0, 1])
def test_the_files_of_a_sample_that_cannot_be_read_are_named(num_workers):
    loader = guard(DataLoader(_Damaged(), num_workers=num_workers))
    with pytest.raises(SampleError) as caught:
        next(iter(loader))
    assert re.fullmatch(
        r'0\.jpg with 0\.png cannot be read: ValueError: two \(.*test_data_loading\.py, line \d+\)',
        str(caught.value),
    )


class _Deadly(Dataset):
    def __len__(self):
        return 9

    def __getitem__(self, index):
        if index == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return index


def test_a_dead_worker_is_an_error_where_batches_are_read_and_nowhere_else():
    batches = read_batches(DataLoader(_Deadly(), batch_size=1, num_workers=1))
    assert take_batch(batches) == (0, None)
    time.sleep(0.5)  # as a training step, amid which torch would raise
    batch, error = take_batch(batches)
    assert isinstance(error, DeadWorkerError)
    assert batch is None


def test_a_dead_worker_is_told_also_where_what_it_was_sending_broke_off_first(monkeypatch):
    def end_of_worker(*signal_and_frame):
        raise RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed.')

    monkeypatch.setattr(time, 'sleep', end_of_worker)  # the signal comes while it is awaited
    with pytest.raises(DeadWorkerError, match=r'^DataLoader worker \(pid 7\)'), dead_workers_told():
        raise ConnectionResetError('Connection reset by peer')


def test_the_signal_of_a_dead_worker_is_awaited_before_the_progress_line_ends(monkeypatch):
    done = []

    @contextmanager
    def progress(runner):
        try:
            yield
        finally:
            done.append('progress ended')  # by threads, whose notify() swallows a RuntimeError

    class Broken:
        def train(self):
            raise ConnectionResetError('Connection reset by peer')

    monkeypatch.setattr(training, 'showing_progress', progress)
    monkeypatch.setattr(time, 'sleep', lambda seconds: done.append('signal awaited'))
    with pytest.raises(ConnectionResetError):
        training._run(Broken())
    assert done == ['signal awaited', 'progress ended']


def test_a_connection_that_broke_with_every_worker_alive_keeps_its_error():
    with pytest.raises(ConnectionResetError), dead_workers_told():
        raise ConnectionResetError('Connection reset by peer')
