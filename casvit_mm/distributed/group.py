"""The process group on GPU and CPU hosts, work of one rank, the unwrapped model."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.dist import init_dist
from mmengine.runner import Runner
from torch import nn

from casvit_mm.distributed.processes import die_with_parent
from casvit_mm.distributed.slurm import set_variables
from casvit_mm.errors import InputError

__all__ = [
    'ALL_PROCESSES',
    'RESUME',
    'init_distributed',
    'lost_connection',
    'on_first_rank',
    'too_few_gpus',
    'unwrapped_model',
]

T = TypeVar('T')

# Variable of an elastic run: the number of its processes when every host is there.
ALL_PROCESSES = 'CASVIT_MM_ALL_PROCESSES'
# Variable of a run that is started more than once by the same command: it is 'auto' then.
RESUME = 'CASVIT_MM_RESUME'


def init_distributed(cfg: Config) -> None:
    """Start the process group that ``cfg.launcher`` asks for, with gloo where there is no GPU.

    MMEngine's own start sets a CUDA device, so on a CPU host the group must exist before the
    Runner is built, and the model wrapper must not be given a device.

    Raises:
        InputError: If the launcher's environment variables are absent, there are fewer GPUs than
            processes, or the processes do not find each other.
    """
    if cfg.launcher == 'none' or dist.is_initialized():
        return
    if cfg.launcher == 'pytorch' and 'LOCAL_RANK' not in os.environ:
        raise InputError(
            '--launcher pytorch needs the variables that torchrun sets. Begin with '
            'torchrun, as tools/dist_train.sh of the repository does, or leave --launcher out.'
        )
    if cfg.launcher == 'pytorch':
        die_with_parent(signal.SIGTERM)  # also where torchrun itself was called
    if cfg.launcher == 'slurm':
        set_variables()
    if torch.cuda.is_available():
        local_world_size = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
        if local_world_size > torch.cuda.device_count():
            raise InputError(too_few_gpus(local_world_size))
        # Both launchers have set the same variables.
        init_dist('pytorch', **cfg.env_cfg.get('dist_cfg', dict(backend='nccl')))
        return
    seconds = cfg.env_cfg.get('dist_cfg', {}).get('timeout')
    torch.set_num_threads(_threads(cfg.launcher))
    dist.init_process_group('gloo', timeout=seconds and timedelta(seconds=seconds))
    cfg.env_cfg.dist_cfg = dict(backend='gloo')
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )


def _threads(launcher: str) -> int:
    """Return the CPUs of this process: those of its task of Slurm, or its share of the host.

    torchrun sets one thread per process, where a CPU host has more to share.
    """
    if launcher == 'slurm' and 'SLURM_CPUS_PER_TASK' in os.environ:
        return int(os.environ['SLURM_CPUS_PER_TASK'])
    return max(1, (os.cpu_count() or 1) // int(os.environ['LOCAL_WORLD_SIZE']))


def too_few_gpus(processes: int) -> str:
    """Return the message for more processes than GPUs on this host."""
    return (
        f'{processes} processes asked for, but this host has {torch.cuda.device_count()} GPU(s). '
        'Ask for at most that many; to run on the CPU instead, set CUDA_VISIBLE_DEVICES=-1.'
    )


def lost_connection(error: BaseException) -> bool:
    """Return whether an error says that another process of the group does not answer any more."""
    # gloo's own errors are RuntimeErrors, told apart by the file that they name.
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and 'gloo/' in str(error)
    )


def unwrapped_model(runner: Runner) -> nn.Module:
    """Return the model of a run, without the wrapper that it has under several processes."""
    return getattr(runner.model, 'module', runner.model)


def on_first_rank(work: Callable[[], T]) -> T:
    """Run ``work`` on rank 0 only and give every rank its result, or the InputError it raised.

    Raises:
        InputError: What ``work`` raised; with an empty message on the other ranks.
    """
    if not dist.is_initialized():
        return work()
    outcome: list[Any] = [None, True]
    try:
        if dist.get_rank() == 0:
            outcome = [work(), False]
    finally:
        dist.broadcast_object_list(outcome, src=0)
    result, failed = outcome
    if failed:
        raise InputError
    return result
