"""A Slurm of Debian's packages on hosts that are network namespaces."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from hosts import Hosts

CONFIGURATION = """
ClusterName=tests
SlurmctldHost={first}({address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=2,sched_interval=2,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=60
MinJobAge=3600
{nodes}
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime={grace} MaxTime=INFINITE
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE
"""


def has_slurm() -> bool:
    """Return whether the daemons of Slurm and munge are installed."""
    return all(map(shutil.which, ('slurmctld', 'slurmd', 'munged', 'srun', 'sbatch')))


class Slurm:
    """A controller on the first host, and a node of 4 CPUs on each.

    Args:
        hosts: Where to run.
        folder: For configuration, state and logs; of a path without spaces.
        grace: Seconds that a preempted job has to end.
    """

    def __init__(self, hosts: Hosts, folder: Path, grace: int = 120) -> None:
        self.hosts, self.folder = hosts, folder
        self._daemons: list[subprocess.Popen] = []
        (folder / 'state').mkdir(parents=True)
        nodes = [
            f'NodeName={name} NodeAddr={address} CPUs=4 RealMemory=1000 State=UNKNOWN'
            for name, address in zip(hosts.names, hosts.addresses)
        ]
        text = CONFIGURATION.format(
            first=hosts.names[0],
            address=hosts.addresses[0],
            folder=folder,
            nodes='\n'.join(nodes),
            grace=grace,
        )
        self.configuration = folder / 'slurm.conf'
        self.configuration.write_text(text)
        # A namespace has a /sys of its own, without control groups, which slurmd wants to see.
        (folder / 'cgroup.conf').write_text('CgroupPlugin=cgroup/v1\n')
        with_groups = 'mount -t tmpfs groups /sys/fs/cgroup && exec slurmd -D -N "$0"'
        self._start_munge()
        self._start(0, 'slurmctld', '-D')
        for i, name in enumerate(hosts.names):
            (folder / f'spool.{name}').mkdir()
            self._start(i, 'sh', '-c', with_groups, name)
        self.wait_for(lambda: self.run('sinfo', '-h', '-o', '%T %D').stdout.split(), self._idle)

    def _idle(self, found: list[str]) -> bool:
        return found == ['idle', str(len(self.hosts.names))]

    def _start_munge(self) -> None:
        key = self.folder / 'munge.key'
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = [
            f'--{name}-file={self.folder}/munge.{name}' for name in ('key', 'pid', 'log', 'seed')
        ]
        command = ['munged', '--foreground', '--force', f'--socket={self.folder}/munge.socket']
        self._start(0, *command, *files)
        self.wait_for((self.folder / 'munge.socket').exists, bool)

    def _start(self, i: int, *command: str) -> None:
        log = (self.folder / f'{command[0]}{i}.printed').open('w')
        process = subprocess.Popen(
            [*self.hosts.prefix(i), *command],
            env=self.environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._daemons.append(process)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the variables of a process that uses this Slurm."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith('SLURM')}
        path = f'{os.environ["PATH"]}:/usr/sbin:/sbin'
        return {**clean, 'PATH': path, 'SLURM_CONF': str(self.configuration), **more}

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess:
        """Run a command on the first host to its end."""
        return subprocess.run(
            [*self.hosts.prefix(0), *command],
            env=self.environment(**env),
            capture_output=True,
            text=True,
        )

    def state(self, job: str) -> str:
        """Return the state of a job, and how often it was started again."""
        shown = self.run('scontrol', 'show', 'job', job).stdout
        return ' '.join(re.findall(r'(?:JobState|Restarts)=(\w+)', shown))

    def wait_for(self, look, is_right, seconds: float = 90) -> None:
        """Wait until what is looked at is right."""
        end = time.monotonic() + seconds
        while not is_right(found := look()):
            assert time.monotonic() < end, f'{found}\n{self.logs()}'
            time.sleep(0.5)

    def logs(self) -> str:
        """Return the ends of all logs."""
        files = sorted([*self.folder.glob('*.log'), *self.folder.glob('*.printed')])
        return '\n'.join(f'== {path.name}\n{path.read_text()[-2000:]}' for path in files)

    def stop(self) -> None:
        """End the daemons."""
        self.run('scancel', '--user=root')
        for process in reversed(self._daemons):
            process.terminate()
        for process in self._daemons:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
