"""The interface between the hosts, and hosts that do not come."""

import socket
import threading

import pytest
from helpers import free_port

from casvit_mm import InputError
from casvit_mm.distributed import joining, network
from casvit_mm.distributed.joining import join_hosts, reach_first_host
from casvit_mm.distributed.network import GLOO, NCCL, choose_interface, is_own_address
from casvit_mm.distributed.slurm import set_variables, tasks_per_node

ETH, IB = {'eth0': ['10.0.0.5']}, {'ib0': ['10.1.0.5']}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in (GLOO, NCCL):
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)


def on_a_host_with(own, monkeypatch, source=''):
    monkeypatch.setattr(network, 'interfaces', lambda: own)
    monkeypatch.setattr(network, '_source', lambda host: source)


def test_the_interface_that_leads_to_the_other_hosts_is_taken(monkeypatch):
    on_a_host_with(ETH | IB, monkeypatch, source='10.1.0.5')
    assert choose_interface('node0') == '10.1.0.5'
    assert (network.os.environ[GLOO], network.os.environ[NCCL]) == ('ib0', '=ib0')


def test_a_name_that_is_127_0_1_1_stands_for_the_only_interface(monkeypatch):
    on_a_host_with(ETH, monkeypatch)
    assert choose_interface('localhost') == '10.0.0.5'
    assert network.os.environ[GLOO] == 'eth0'


def test_of_several_interfaces_the_user_chooses(monkeypatch):
    on_a_host_with(ETH | IB, monkeypatch)
    message = r'several interfaces: eth0 \(10\.0\.0\.5\), ib0 \(10\.1\.0\.5\)\..*' + GLOO
    with pytest.raises(InputError, match=message):
        choose_interface('localhost')
    loopback = socket.if_nameindex()[0][1]
    monkeypatch.setenv(GLOO, loopback)
    choose_interface('localhost')
    assert network.os.environ[GLOO] == loopback
    monkeypatch.setenv(GLOO, 'eth7')
    with pytest.raises(InputError, match='no interface eth7; it has eth0'):
        choose_interface('localhost')


def test_own_addresses_are_known():
    assert is_own_address('localhost')
    assert is_own_address('127.0.1.1')
    assert not is_own_address('192.0.2.77')  # of no host, by RFC 5737
    assert not is_own_address('no-such-host.invalid')


def test_hosts_meet_and_one_that_does_not_come_is_named_to_all(capsys):
    port, stores, errors = int(free_port()), [], []
    stores.append(join_hosts('127.0.0.1', port, 0, 1, 5))

    def join(node, port, number):
        try:
            stores.append(join_hosts('127.0.0.1', port, node, number, 2))
        except InputError as error:
            errors.append(str(error))

    for number, joined in ((2, 2), (3, 0)):
        stores.clear()
        port = int(free_port())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(joining, 'is_own_address', lambda address: False)
            threads = [threading.Thread(target=join, args=(i, port, number)) for i in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
        assert len(stores) == joined
    assert len(errors) == 2
    assert all('host 2 of 3 (NODE_RANK) did not come within 2 s' in error for error in errors)


def test_two_hosts_of_one_number_are_named():
    port = int(free_port())
    store = join_hosts('127.0.0.1', port, 0, 1, 5)
    store.add('casvit_mm/joined/1', 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joining, 'is_own_address', lambda address: False)
        with pytest.raises(InputError, match='two hosts have NODE_RANK=1'):
            join_hosts('127.0.0.1', port, 1, 2, 5)


def test_a_first_host_that_cannot_be_reached_is_named_with_the_reason(monkeypatch, capsys):
    monkeypatch.setattr(joining, '_QUIET', 0)
    monkeypatch.setattr(joining, 'is_own_address', lambda address: False)
    with pytest.raises(InputError, match=r'could not be reached for 1 s \(JOIN_TIMEOUT\): Conn'):
        reach_first_host('127.0.0.1', int(free_port()), 1)
    assert 'waiting for host 0 at 127.0.0.1:' in capsys.readouterr().err
    with pytest.raises(InputError, match=r'no-such-host\.invalid.*JOIN_TIMEOUT\): Name or service'):
        reach_first_host('no-such-host.invalid', 1, 1)


def test_the_tasks_of_the_nodes_of_slurm():
    assert tasks_per_node('2(x3),1') == [2, 2, 2, 1]
    assert tasks_per_node('4') == [4]


def test_outside_of_srun_slurm_is_no_launcher(monkeypatch):
    monkeypatch.delenv('SLURM_PROCID', raising=False)
    with pytest.raises(
        InputError, match=r'needs the variables that srun sets, such as SLURM_PROCID'
    ):
        set_variables()
