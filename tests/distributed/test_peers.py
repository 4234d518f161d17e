"""What a launcher hears of those on other hosts."""

import queue
import socket
import time

import pytest
from torch.distributed import PrefixStore, TCPStore

from casvit_mm.distributed.peers import KILLED, Ended, Peers


class Host:
    """A launcher, here a thread, and the news that it acts on."""

    def __init__(self, store, node, number, seconds=2):
        self.heard = queue.Queue()
        ranks = (2 * node, 2 * node + 1)
        self.peers = Peers(store, '127.0.0.1', node, number, ranks, seconds, self.heard.put)

    def hears(self, seconds=5):
        return self.heard.get(timeout=seconds)

    def hears_nothing(self):
        time.sleep(0.7)
        return self.heard.empty()


@pytest.fixture
def run():
    server = TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)
    hosts = []

    def start(*nodes, number=3):
        for node in nodes:
            client = TCPStore('127.0.0.1', server.port, is_master=False)
            hosts.append(Host(PrefixStore('first', client), node, number))
        return hosts

    yield start
    for host in hosts:
        host.peers.leave()


def met(hosts):
    """Wait until every other host and host 0 know each other."""
    end = time.monotonic() + 5
    for host in hosts:
        while not all(each.peer for each in host.peers._connections) or host.peers.missing:
            assert time.monotonic() < end
            time.sleep(0.01)
    return hosts


def test_all_hosts_hear_how_the_processes_of_one_have_ended(run):
    first, second, third = met(run(0, 1, 2))
    second.peers.tell(Ended((3,), 'b (10.0.0.2)', 2, 'ended with status 2'))
    for host in (first, third):
        assert str(host.hears()) == 'rank 3 on host b (10.0.0.2) ended with status 2'
        assert host.hears_nothing()  # once is enough
    assert second.hears_nothing()


def test_a_launcher_that_goes_without_a_word_was_killed(run):
    first, second, third = met(run(0, 1, 2))
    third.peers._over = True
    third.peers._drop(third.peers._connections[0])  # as the kernel does
    for host in (first, second):
        ended = host.hears()
        assert (ended.ranks, ended.status) == ((4, 5), KILLED)
        assert f'on host {socket.gethostname()} (127.0.0.1) ended: the launcher' in str(ended)


def test_without_the_launcher_of_host_0_the_others_end(run):
    first, second = met(run(0, 1, number=2))
    first.peers._over = True
    first.peers._drop(first.peers._connections[0])
    assert second.hears().ranks == (0, 1)


def test_a_host_that_is_done_is_not_missed(run):
    first, second, third = met(run(0, 1, 2))
    second.peers.leave()
    assert first.hears_nothing()
    assert third.hears_nothing()


def test_a_stranger_at_the_port_changes_nothing(run):
    first, second = run(0, 1, number=2)
    met([first, second])
    port, _ = first.peers._store.get('casvit_mm/peers').decode().split()
    for said in (b'GET / HTTP/1.1\n', b'{"ended": {}}\n', b'[]\n', b'\xff\n'):
        with socket.create_connection(('127.0.0.1', int(port))) as stranger:
            stranger.sendall(said)
            assert stranger.recv(1) == b''  # shown the door
    second.peers.tell(Ended((3,), 'b', 1, 'ended with status 1'))
    assert first.hears().ranks == (3,)


def test_a_host_that_never_came_is_named(run):
    (first,) = run(0, number=2)
    assert 'host number 1 (NODE_RANK) never came' in str(first.hears())
