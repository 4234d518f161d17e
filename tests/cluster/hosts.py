"""Hosts that are network namespaces on one switch, each with a name and a hosts file of its own."""

import os
import shutil
import subprocess
from pathlib import Path

CONFIGURATION = Path('/etc/netns')


def ip(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(['ip', *arguments], capture_output=True, text=True)


def can_make_hosts() -> bool:
    """Return whether this process may make namespaces with a bridge between them."""
    if os.getuid() or not all(map(shutil.which, ('ip', 'unshare', 'hostname'))):
        return False
    hosts = Hosts(1, prefix='probe')
    try:
        return hosts.made and hosts.run(0, 'hostname').stdout.strip() == hosts.names[0]
    finally:
        hosts.remove()


class Hosts:
    """Hosts 10.77.0.1, 10.77.0.2, ... that know themselves as 127.0.1.1, as Debian sets it.

    Args:
        number: How many.
        prefix: Of their names.

    Attributes:
        names: Names of the hosts, which are those of the namespaces too.
        made: Whether all of it could be made.
    """

    def __init__(self, number: int, prefix: str = 'host') -> None:
        tag = os.getpid() % 10000
        self.names = [f'{prefix}{tag}x{i}' for i in range(number)]
        self.addresses = [f'10.77.0.{i + 1}' for i in range(number)]
        self._switch = f'{prefix}{tag}sw'
        done = [ip('netns', 'add', self._switch)]
        done.append(ip('-n', self._switch, 'link', 'add', 'br0', 'type', 'bridge'))
        done.append(ip('-n', self._switch, 'link', 'set', 'br0', 'up'))
        for i, name in enumerate(self.names):
            done += self._add(i, name)
        self.made = all(each.returncode == 0 for each in done)

    def _add(self, i: int, name: str) -> list[subprocess.CompletedProcess]:
        folder = CONFIGURATION / name
        folder.mkdir(parents=True)
        known = [('127.0.1.1' if other == name else a, other) for a, other in self._pairs()]
        lines = ['127.0.0.1 localhost', *map(' '.join, known)]
        (folder / 'hosts').write_text('\n'.join(lines) + '\n')
        far = ['type', 'veth', 'peer', f'p{i}', 'netns', self._switch]
        return [
            ip('netns', 'add', name),
            ip('-n', name, 'link', 'set', 'lo', 'up'),
            ip('link', 'add', 'eth0', 'netns', name, *far),
            ip('-n', name, 'addr', 'add', f'{self.addresses[i]}/24', 'dev', 'eth0'),
            ip('-n', name, 'link', 'set', 'eth0', 'up'),
            ip('-n', self._switch, 'link', 'set', f'p{i}', 'master', 'br0', 'up'),
        ]

    def _pairs(self) -> list[tuple[str, str]]:
        return list(zip(self.addresses, self.names))

    def prefix(self, i: int) -> list[str]:
        """Return what stands before a command to run it on a host."""
        named = ['unshare', '--uts', 'sh', '-c', 'hostname "$0" && exec "$@"', self.names[i]]
        return ['ip', 'netns', 'exec', self.names[i], *named]

    def run(self, i: int, *command: str) -> subprocess.CompletedProcess:
        """Run a command on a host to its end."""
        return subprocess.run([*self.prefix(i), *command], capture_output=True, text=True)

    def cut(self, i: int) -> None:
        """Take a host off the switch; its own interface stays up, as with a cable elsewhere."""
        ip('-n', self._switch, 'link', 'set', f'p{i}', 'nomaster')

    def mend(self, i: int) -> None:
        """Put it back."""
        ip('-n', self._switch, 'link', 'set', f'p{i}', 'master', 'br0')

    def remove(self) -> None:
        """Leave nothing of them."""
        for name in [*self.names, self._switch]:
            ip('netns', 'del', name)
            shutil.rmtree(CONFIGURATION / name, ignore_errors=True)
