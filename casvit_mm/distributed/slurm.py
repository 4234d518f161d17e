"""What Slurm tells a task, as the variables that torchrun would set."""

from __future__ import annotations

import os
import re
import subprocess

from casvit_mm.distributed.network import choose_interface
from casvit_mm.errors import InputError

__all__ = ['set_variables', 'tasks_per_node']

_NEEDED = ('SLURM_PROCID', 'SLURM_LOCALID', 'SLURM_NODEID', 'SLURM_STEP_NUM_TASKS')


def set_variables() -> None:
    """Set ``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR`` and the others from those of a job step.

    ``MASTER_ADDR`` and ``MASTER_PORT`` stay where they are set. The port is otherwise one that
    follows from the numbers of job and step, since several jobs may share a node.

    Raises:
        InputError: If this process is not a task of ``srun``, or its nodes cannot be reached.
    """
    env = os.environ
    missing = [name for name in _NEEDED if name not in env]
    if missing:
        raise InputError(
            f'--launcher slurm needs the variables that srun sets, such as {missing[0]}. Begin '
            'with srun, as tools/slurm_train.sh of the repository does, or leave --launcher out.'
        )
    node = int(env['SLURM_NODEID'])
    # A task that was given a GPU of its own sees no other.
    local = '0' if env.get('SLURM_GPUS_PER_TASK') == '1' else env['SLURM_LOCALID']
    sizes = tasks_per_node(env.get('SLURM_STEP_TASKS_PER_NODE', '1'))
    env.update(
        RANK=env['SLURM_PROCID'],
        WORLD_SIZE=env['SLURM_STEP_NUM_TASKS'],
        LOCAL_RANK=local,
        LOCAL_WORLD_SIZE='1' if env.get('SLURM_GPUS_PER_TASK') == '1' else str(sizes[node]),
    )
    number = int(env.get('SLURM_JOB_ID', 0)) * 7 + int(env.get('SLURM_STEP_ID', 0))
    env.setdefault('MASTER_PORT', str(20000 + number % 10000))
    nodes = _nodes(env.get('SLURM_STEP_NODELIST', '')) if len(sizes) > 1 else []
    if len(nodes) < 2:
        env.setdefault('MASTER_ADDR', '127.0.0.1')
        return
    env.setdefault('MASTER_ADDR', nodes[0])
    choose_interface(env['MASTER_ADDR'], other=nodes[1] if node == 0 else None)


def tasks_per_node(text: str) -> list[int]:
    """Return the tasks of each node, of what Slurm writes as ``'2(x3),1'``."""
    counts: list[int] = []
    for number, times in re.findall(r'(\d+)(?:\(x(\d+)\))?', text):
        counts += [int(number)] * int(times or 1)
    return counts


def _nodes(names: str) -> list[str]:
    """Return the names of nodes, of what Slurm writes as ``'node[1-3]'``.

    Raises:
        InputError: If ``scontrol``, which knows them, fails.
    """
    try:
        result = subprocess.run(
            ['scontrol', 'show', 'hostnames', names], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(
            f'scontrol cannot tell the nodes of {names} ({error}). Set MASTER_ADDR to the name of '
            'the first one, and GLOO_SOCKET_IFNAME to the interface between them.'
        ) from error
    return result.stdout.split()
