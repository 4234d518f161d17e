"""Two hosts of a fixed number, by name: how they find each other, and how one ends the other."""

import os
import signal

import pytest
from helpers import free_port
from tiny_training import TinyRun

PATIENCE = 400  # seconds for what has no limit of its own, on a busy machine


@pytest.fixture
def start(two_hosts, tmp_path):
    """Start one of two launchers; MASTER_ADDR is a name that is 127.0.1.1 on its own host."""
    port, runs = free_port(), []

    def start_host(node, *options, **env):
        launcher = ['--nnodes=2', f'--node-rank={node}', f'--master-port={port}']
        runs.append(
            TinyRun(
                tmp_path / f'run{node}',
                'train_cfg.max_epochs=9',
                'train_dataloader.dataset.size=64',
                processes=2,
                prefix=two_hosts.prefix(node),
                launcher=[*launcher, f'--master-addr={two_hosts.names[0]}', *options],
                **{'PEER_TIMEOUT': '6', **env},
            )
        )
        return runs[-1]

    yield start_host
    for run in runs:
        run.kill()


def test_a_process_that_is_killed_ends_the_other_host_which_names_it(start):
    here, there = start(0), start(1)
    here.wait_for('Epoch(train) [1][2/', PATIENCE)
    os.kill(there.trainings()[1], signal.SIGKILL)
    assert here.wait(60) == 137
    assert 'error: rank 3 on host ' in here.printed
    assert '(10.77.0.2) was ended by SIGKILL' in here.printed
    assert there.wait(60) == 137
    assert 'Traceback' not in here.printed + there.printed
    assert here.processes() == there.processes() == {}


def test_a_switch_that_fails_ends_both_hosts_in_the_time_that_is_set(start, two_hosts):
    here, there = start(0), start(1)
    here.wait_for('Epoch(train) [1][2/', PATIENCE)
    two_hosts.cut(1)
    assert here.wait(30) == there.wait(30) == 137
    assert 'error: ranks 2, 3 on host ' in here.printed
    assert '(10.77.0.2) gave no answer' in here.printed
    assert 'error: ranks 0, 1 on host ' in there.printed
    assert 'Traceback' not in here.printed + there.printed
    assert here.processes() == there.processes() == {}


def test_a_host_that_does_not_come_is_named_on_both_sides(start, two_hosts):
    alone = start(0, JOIN_TIMEOUT='5')
    assert alone.wait(PATIENCE) == 2
    assert 'waiting for host' not in alone.printed.partition('error: ')[2]
    assert 'error: host 1 of 2 (NODE_RANK) did not come within 5 s (JOIN_TIMEOUT)' in alone.printed
    assert f'MASTER_ADDR={two_hosts.names[0]}' in alone.printed
    alone = start(1, JOIN_TIMEOUT='5')
    assert alone.wait(PATIENCE) == 2
    assert f'error: host 0 at {two_hosts.names[0]}:' in alone.printed
    assert 'could not be reached for 5 s (JOIN_TIMEOUT): Connection refused' in alone.printed


def test_an_address_of_the_wrong_host_is_named(start, two_hosts):
    wrong = start(1, f'--master-addr={two_hosts.names[1]}')
    assert wrong.wait(PATIENCE) == 2
    assert 'is this host itself, which is not host 0 (NODE_RANK)' in wrong.printed
    wrong = start(0, f'--master-addr={two_hosts.addresses[1]}')
    assert wrong.wait(PATIENCE) == 2
    assert 'MASTER_ADDR=10.77.0.2 is not an address of this host, which is host 0' in wrong.printed
