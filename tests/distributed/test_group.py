"""Errors of a process group."""

import pytest
import torch.distributed as dist

from casvit_mm.distributed.group import lost_connection

GLOO = '[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.2]:1'


@pytest.mark.parametrize(
    ('error', 'lost'),
    [
        (RuntimeError(GLOO), True),
        (dist.DistBackendError('NCCL error: remote process exited'), True),
        (dist.DistNetworkError('The client socket has timed out'), True),
        (RuntimeError('mat1 and mat2 shapes cannot be multiplied'), False),
        (ValueError(GLOO), False),
    ],
)
def test_a_lost_connection_is_told_from_other_errors(error, lost):
    assert lost_connection(error) is lost
