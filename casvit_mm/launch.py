"""torchrun, with its conditions checked first and its end kept readable.

``python -m casvit_mm.launch [torchrun options] SCRIPT [arguments]`` takes what ``torchrun`` takes.
More processes than GPUs, a port that is in use, or hosts that do not come end with one message;
when a process fails, its own message is the last thing printed instead of the launcher's traceback.
SIGTERM, Ctrl-C and SIGHUP are passed on, and the processes get the time they need to save their
state; a second Ctrl-C ends them at once. If the launcher itself is killed, they get SIGTERM. A
signal that is ignored, as ``nohup`` does, stays ignored.

With ``--max-restarts`` or a range of hosts (``--nnodes=1:4``) the run is elastic: torchrun's c10d
rendezvous brings together the hosts that are there, and a training goes on from its last saved
state when some are lost or come.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import sys
from argparse import Namespace
from dataclasses import replace

import torch
from torch.distributed import run as torchrun
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous.api import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousTimeoutError,
)

from casvit_mm.cli import cli
from casvit_mm.distributed.group import ALL_PROCESSES, RESUME, too_few_gpus
from casvit_mm.distributed.joining import join_hosts, reach_first_host, seconds_of
from casvit_mm.distributed.network import choose_interface, is_own_address
from casvit_mm.distributed.processes import PARENT
from casvit_mm.distributed.supervision import INPUT_ERROR, SIGNALS, Run, patch_torchrun, say
from casvit_mm.errors import InputError

__all__ = ['check_hosts', 'check_launch', 'main']


def check_launch(processes: int, first: bool, address: str, port: int) -> None:
    """Refuse a launch that cannot work on this host.

    Args:
        processes: Processes to start here.
        first: Whether this is host 0, which alone opens the port.
        address: Host that every process connects to.
        port: Its port.

    Raises:
        InputError: If there are fewer GPUs than processes (a host without any runs on its CPU), or
            the port does not exist or is in use.
    """
    if processes < 1:
        raise InputError(f'the number of processes must be at least 1, got {processes}')
    if not 0 < port < 2**16:
        raise InputError(f'PORT must be from 1 to {2**16 - 1}, got {port}')
    if torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise InputError(too_few_gpus(processes))
    if first:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    raise InputError(
                        f'MASTER_ADDR={address} is not an address of this host, which is host 0. '
                        'Give the others their NODE_RANK from 1 on, and host 0 its own address.'
                    ) from error
                raise InputError(
                    f'port {port} on {address} cannot be opened: {error.strerror}. Another run may '
                    f'use it; choose one: PORT={port + 1} tools/dist_train.sh ...'
                ) from error


def check_hosts(hosts: str, node_rank: int) -> tuple[int, int]:
    """Refuse a number of hosts, or a number of this host, that does not exist.

    Args:
        hosts: As torchrun takes it: ``'2'``, or ``'1:4'`` for at least 1 and at most 4.
        node_rank: Number of this host, from 0.

    Returns:
        The least and the largest number of hosts.

    Raises:
        InputError: Saying what both must be.
    """
    match = re.fullmatch(r'(\d+)(?::(\d+))?', hosts)
    least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= least <= most:
        raise InputError(f'NNODES must be a number of hosts, such as 2 or 1:4, got {hosts!r}')
    if not 0 <= node_rank < most:
        raise InputError(
            f'NODE_RANK must be from 0 to {most - 1} on {most} host(s) (NNODES), got {node_rank}'
        )
    return least, most


def main() -> None:
    """Check, then run torchrun on the same arguments.

    Raises:
        InputError: As :func:`check_launch` and :func:`check_hosts`, if an argument is no number, or
            if hosts do not come.
    """
    args = torchrun.parse_args(sys.argv[1:])
    try:
        processes = torchrun.determine_local_world_size(args.nproc_per_node)
        node_rank = int(args.node_rank)
        restarts = int(args.max_restarts)
    except ValueError as error:
        raise InputError(f'GPUS, NODE_RANK and MAX_RESTARTS must be numbers: {error}') from error
    least, most = check_hosts(args.nnodes, node_rank)
    elastic = least < most or restarts > 0 or args.rdzv_backend == 'c10d'
    run = Run(seconds_of('PEER_TIMEOUT', 60, 2), elastic)
    patience = seconds_of('JOIN_TIMEOUT', 600, 1)
    os.environ[PARENT] = str(os.getpid())
    patch_torchrun(run)
    if elastic:
        _run_elastic(args, run, (least, most), processes, patience)
        return
    address, port = args.master_addr or '127.0.0.1', args.master_port or 29500
    check_launch(processes, node_rank == 0, address, port)
    store = None
    if most > 1 and args.rdzv_backend == 'static':
        _refuse_no_address(address)
        store = join_hosts(address, port, node_rank, most, patience)
        run.address = choose_interface(address)
    _run(args, run)
    del store


def _refuse_no_address(address: str) -> None:
    if address in ('127.0.0.1', 'localhost', '::1'):
        raise InputError(
            f'MASTER_ADDR={address} is every host itself. Set it to the name or address of host 0, '
            'the same on all hosts.'
        )


def _run_elastic(
    args: Namespace, run: Run, hosts: tuple[int, int], processes: int, patience: float
) -> None:
    """Run by torchrun's c10d rendezvous; if host 0 is lost, wait for it to come back.

    Raises:
        InputError: If it, or too few hosts, come in time.
    """
    least, most = hosts
    address, port, first = _set_rendezvous(args, most, patience)
    check_launch(processes, first, address, port)
    os.environ[ALL_PROCESSES] = str(most * processes)
    os.environ[RESUME] = 'auto'
    os.environ['TORCH_DISABLE_SHARE_RDZV_TCP_STORE'] = (
        '1'  # it outlives neither its host nor a start
    )
    wanted = f'{least} to {most} hosts' if least < most else f'{most} host(s)'
    args.local_addr = args.local_addr or address
    while True:
        if most > 1:
            if not first:
                reach_first_host(address, port, patience)
            run.address = choose_interface(address)
            args.local_addr = run.address or address
            say(f'waiting for {wanted} at {address}:{port}, up to {patience:g} s (JOIN_TIMEOUT)')
        try:
            _run(args, run)
            return
        except RendezvousTimeoutError as error:
            raise InputError(
                f'fewer than {least} host(s) (NNODES={args.nnodes}) came to {address}:{port} '
                f'within {patience:g} s (JOIN_TIMEOUT)'
            ) from error
        except RendezvousClosedError as error:
            raise InputError(
                f'the run at {address}:{port} has ended; its other hosts say why'
            ) from error
        except (RendezvousConnectionError, torch.distributed.DistError) as error:
            if first:
                raise
            say(f'host 0 at {address}:{port} is lost ({error}). This host waits for it.')


def _set_rendezvous(args: Namespace, most: int, patience: float) -> tuple[str, int, bool]:
    """Let torchrun bring the hosts together by c10d, unless the arguments say how.

    Returns:
        Address and port of the store, and whether this host has it.

    Raises:
        InputError: If there are several hosts and no address.
    """
    if args.rdzv_backend == 'c10d' and args.rdzv_endpoint:
        address, _, port = args.rdzv_endpoint.rpartition(':')
        address, port = (address, int(port)) if address else (args.rdzv_endpoint, 29400)
    else:
        address, port = args.master_addr or '127.0.0.1', args.master_port or 29500
        if most > 1:
            _refuse_no_address(address)
        args.rdzv_endpoint = f'{address}:{port}'
        args.rdzv_id = args.rdzv_id if args.rdzv_id != 'none' else 'casvit_mm'
    args.rdzv_backend = 'c10d'
    first = is_own_address(address)
    given = dict(part.split('=', 1) for part in args.rdzv_conf.split(',') if '=' in part)
    settings = dict(is_host=str(first), join_timeout=f'{patience:.0f}') | given
    args.rdzv_conf = ','.join(f'{name}={value}' for name, value in settings.items())
    return address, port, settings['is_host'].lower() in ('1', 'true')


def _run(args: Namespace, run: Run) -> None:
    """Run torchrun, and end with the status that the processes have, or were given elsewhere."""
    try:
        torchrun.run(args)
    except ChildFailedError as error:
        ended = run.news or run.fail(error.failures)
        # After an InputError its message is there already.
        if ended.status not in (INPUT_ERROR, *SIGNALS) and not run.news:
            say(f'error: {ended}')
        sys.exit(ended.status)
    except SignalException as error:
        if run.news:
            sys.exit(run.news.status)
        name = signal.Signals(error.sigval).name
        told = replace(run.here, status=128 + error.sigval, how=f'were told to end ({name})')
        if run.peers:
            run.peers.tell(told)
        sys.exit(told.status)
    finally:
        run.leave()


if __name__ == '__main__':
    cli(main)
