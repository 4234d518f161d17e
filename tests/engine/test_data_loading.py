"""Workers that begin and end as their training process needs them to."""

import socket

import pytest
import torch
import torch.distributed as dist
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from casvit_mm.distributed.processes import _is_tcp
from casvit_mm.engine.data_loading import guard_workers


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


def load(connection, guard=lambda loader: loader, seed=5):
    config = dict(dataset=_Connections(connection), sampler=None, batch_size=1, num_workers=1)
    loader = guard(Runner.build_dataloader(config, seed=seed))
    return [(is_open[0], drawn[0]) for is_open, drawn in loader]


def test_workers_let_go_of_the_connections_of_a_group_and_are_seeded_as_before(connection):
    dist.init_process_group('gloo', store=dist.HashStore(), rank=0, world_size=1)
    try:
        before, guarded = load(connection), load(connection, guard_workers)
    finally:
        dist.destroy_process_group()
    assert [is_open for is_open, _ in before] == [True, True]
    assert [is_open for is_open, _ in guarded] == [False, False]
    assert [drawn for _, drawn in guarded] == [drawn for _, drawn in before]


def test_without_a_group_workers_keep_connections_and_the_users_function_is_called(connection):
    loader = DataLoader(
        _Connections(connection), num_workers=1, worker_init_fn=lambda number: torch.manual_seed(3)
    )
    (_, drawn), _ = list(guard_workers(loader))
    assert load(connection, guard_workers)[0][0]
    assert drawn.item() == pytest.approx(torch.rand(1, generator=_seeded(3)).item())


def _seeded(seed):
    generator = torch.Generator()
    generator.manual_seed(seed)
    return generator
