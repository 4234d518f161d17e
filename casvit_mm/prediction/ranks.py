"""The processes that predict together; torch is needed only where there are several."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from casvit_mm.errors import InputError

__all__ = ['Ranks']

T = TypeVar('T')

# Seconds that a process waits for the others, which may have days of work left. One that is lost
# ends the others by the launcher.
_PATIENCE = timedelta(days=100).total_seconds()


class Ranks:
    """This process among those that a launcher has started.

    Args:
        launcher: ``'none'``, ``'pytorch'`` or ``'slurm'``.

    Attributes:
        rank: Number of this process.
        size: Number of processes.

    Raises:
        InputError: As :func:`casvit_mm.distributed.group.init_distributed`.
    """

    def __init__(self, launcher: str = 'none') -> None:
        self.rank, self.size = 0, 1
        if launcher == 'none':
            return
        import torch.distributed as dist
        from mmengine.config import Config

        from casvit_mm.distributed.group import init_distributed

        # gloo on GPUs too: what is exchanged is small, and NCCL does not wait for hours.
        backend = dict(backend='gloo', timeout=_PATIENCE)
        init_distributed(Config(dict(launcher=launcher, env_cfg=dict(dist_cfg=backend))))
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def device(self, asked: str | None) -> str | None:
        """Return the device of this process, a GPU for each where there are some.

        Args:
            asked: By the user.

        Raises:
            InputError: If it is one GPU for several processes.
        """
        if self.size == 1 or (asked or 'cuda').partition(':')[0] != 'cuda':
            return asked
        if asked and ':' in asked:
            raise InputError(f'--device {asked} is for one process; leave it out, or take cuda')
        import torch

        return f'cuda:{os.environ["LOCAL_RANK"]}' if asked or torch.cuda.is_available() else 'cpu'

    def on_first(self, work: Callable[[], T]) -> T:
        """Run ``work`` on rank 0 only and give every rank its result.

        Raises:
            InputError: What ``work`` raised; with an empty message on the other ranks.
        """
        if self.size == 1:
            return work()
        from casvit_mm.distributed.group import on_first_rank

        return on_first_rank(work)

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, once all are here."""
        if self.size == 1:
            return [value]
        from mmengine.dist import all_gather_object

        return all_gather_object(value)
