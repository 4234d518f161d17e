"""The address and the network interface by which this host reaches the others of a run.

gloo takes the address that the host's own name has, which Debian sets to 127.0.1.1: the others then
connect to themselves. NCCL takes the first interface that is not loopback, which may lead nowhere.
So both are told which interface to take, unless the user has. What is found works on Linux.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import socket
import struct
import sys
from pathlib import Path

from casvit_mm.errors import InputError

__all__ = ['choose_interface', 'interfaces', 'is_own_address', 'resolve']

_SIOCGIFADDR = 0x8915
GLOO, NCCL = 'GLOO_SOCKET_IFNAME', 'NCCL_SOCKET_IFNAME'


def resolve(host: str) -> str:
    """Return the address of a host, IPv4 where it has one.

    Raises:
        OSError: If its name is not known.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return str(found[0][4][0])


def is_own_address(host: str) -> bool:
    """Return whether a name or an address is of this host, loopback included."""
    try:
        address = resolve(host)
        with socket.socket(_family(address)) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def interfaces() -> dict[str, list[str]]:
    """Return the addresses of this host by interface, without loopback and IPv6 of one link."""
    if sys.platform != 'linux':
        return {}
    found: dict[str, list[str]] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack('256s', name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:  # it has no IPv4 address
                continue
            found.setdefault(name, []).append(socket.inet_ntoa(answer[20:24]))
    table = Path('/proc/net/if_inet6')
    for line in table.read_text().splitlines() if table.is_file() else ():
        digits, *_, name = line.split()
        found.setdefault(name, []).append(str(ipaddress.IPv6Address(int(digits, 16))))
    usable = {
        name: [address for address in addresses if _is_usable(address)]
        for name, addresses in found.items()
    }
    return {name: addresses for name, addresses in usable.items() if addresses}


def choose_interface(master: str, other: str | None = None) -> str:
    """Tell gloo and NCCL the interface to the other hosts, in the environment of this process.

    Args:
        master: Name or address of host 0, as the user gave it.
        other: Another host than this one, if one is known on host 0; else host 0 is taken.

    Returns:
        The address of this host as the others reach it; empty where it cannot be known.

    Raises:
        InputError: If an interface that was named does not exist, or there are several to choose
            from and none leads to a host that is known.
    """
    own = interfaces()
    if not own:
        return ''
    named = os.environ.get(GLOO)
    if named:
        for name in named.split(','):
            if name not in {name for _, name in socket.if_nameindex()}:
                raise InputError(
                    f'{GLOO}={named}: this host has no interface {name}; it has {_listed(own)}'
                )
        address = own.get(named.split(',')[0], [''])[0]
    else:
        address = _source(other or master) or _only(own, master)
    name = next((name for name, addresses in own.items() if address in addresses), '')
    if name:
        os.environ.setdefault(GLOO, name)
        os.environ.setdefault(NCCL, f'={name}')
    return address


def _source(host: str) -> str:
    """Return the address that packets to a host leave with; empty if they stay on this one."""
    try:
        address = resolve(host)
        if is_own_address(address):
            return address if _is_usable(address) else ''
        with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))  # sends nothing
            return str(probe.getsockname()[0])
    except OSError as error:
        raise InputError(f'MASTER_ADDR={host} cannot be reached from this host: {error}') from error


def _only(own: dict[str, list[str]], master: str) -> str:
    """Return the only address there is, for a host whose name stands for 127.0.1.1 on itself."""
    if len(own) == 1:
        return next(iter(own.values()))[0]
    raise InputError(
        f'MASTER_ADDR={master} is {resolve(master)} on this host, where no other can reach it, '
        f'and there are several interfaces: {_listed(own)}. Give the address that the others reach '
        f'as MASTER_ADDR, or its interface as {GLOO} and {NCCL}.'
    )


def _is_usable(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return not (parsed.is_loopback or parsed.is_link_local)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ':' in address else socket.AF_INET


def _listed(own: dict[str, list[str]]) -> str:
    return ', '.join(f'{name} ({addresses[0]})' for name, addresses in own.items())
