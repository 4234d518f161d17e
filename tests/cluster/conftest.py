"""Hosts for the tests of several of them: `make test-cluster`, as root."""

import os
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from hosts import Hosts, can_make_hosts
from slurm import Slurm, has_slurm


def pytest_collection_modifyitems(items):
    """Give the tests of this folder their mark."""
    for item in items:
        if 'tests/cluster' in str(item.path):
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(3000))


@pytest.fixture(autouse=True)
def tools_find_this_python(monkeypatch):
    """The tools run ``python``, which is this one only where its environment is activated."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    monkeypatch.setenv('PATH', path)


@pytest.fixture
def two_hosts():
    """Two hosts on one switch."""
    if torch.cuda.is_available():
        pytest.skip('gloo, on a host without GPU')
    if not can_make_hosts():
        pytest.skip('needs ip netns and unshare, and to be root')
    hosts = Hosts(2)
    yield hosts
    hosts.remove()


@pytest.fixture
def slurm(two_hosts):
    """A Slurm on them."""
    if not has_slurm():
        pytest.skip('needs slurm-wlm and munge')
    # Paths of sockets have at most 108 bytes, which those of pytest may come near to.
    with tempfile.TemporaryDirectory(prefix='slurm') as folder:
        cluster = Slurm(two_hosts, Path(folder))
        yield cluster
        cluster.stop()
