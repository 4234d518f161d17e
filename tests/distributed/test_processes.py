"""Processes that end with the one that started them, and let go of its connections."""

import os
import select
import signal
import socket
import sys
import time

import pytest

from casvit_mm.distributed.processes import (
    PARENT,
    close_inherited_connections,
    die_with_parent,
    follow_parent,
)

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='a service of the Linux kernel')


def fork(work):
    """Run ``work`` in a new process, which ends with status 7 if it returns."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            work()
        finally:
            os._exit(7)
    return pid


def status_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_process_ends_when_the_one_that_started_it_is_killed():
    read, write = os.pipe()

    def child():
        die_with_parent(signal.SIGTERM)
        os.write(write, b'ready')
        time.sleep(30)

    def parent():
        fork(child)
        time.sleep(30)

    pid = fork(parent)
    os.close(write)
    assert os.read(read, 5) == b'ready'
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    ready, _, _ = select.select([read], [], [], 10)
    assert ready
    assert os.read(read, 5) == b''  # nobody has the other end any more
    os.close(read)


def test_a_command_follows_the_process_that_asked_for_it_and_no_other(monkeypatch):
    monkeypatch.delenv(PARENT, raising=False)
    assert status_of(fork(follow_parent)) == 7
    monkeypatch.setenv(PARENT, str(os.getpid()))
    assert status_of(fork(follow_parent)) == 7
    gone = fork(lambda: None)
    os.waitpid(gone, 0)
    monkeypatch.setenv(PARENT, str(gone))
    assert status_of(fork(follow_parent)) == -signal.SIGTERM


def test_connections_are_closed_in_the_child_alone_and_other_files_stay_open():
    server = socket.create_server(('127.0.0.1', 0))
    client = socket.create_connection(server.getsockname())
    connection, _ = server.accept()
    pair = socket.socketpair()

    def child():
        close_inherited_connections()
        pair[1].sendall(b'left')
        time.sleep(30)

    pid = fork(child)
    try:
        assert pair[0].recv(4) == b'left'
        client.sendall(b'still there')
        assert connection.recv(20) == b'still there'
        connection.close()
        client.settimeout(10)
        assert client.recv(1) == b''  # the end, though the child lives
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for each in (server, client, *pair):
            each.close()
