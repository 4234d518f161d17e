"""Whether mixed precision pays on this processor: measured, for it depends on the processor."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
from mmengine.config import Config
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from casvit_mm.distributed.group import on_first_rank
from casvit_mm.engine.options import TrainOptions
from casvit_mm.engine.timing import Schedule, make_timer, speed_up, time_calls

__all__ = ['mixed_precision_gain', 'warn_of_slow_precision']

_SCHEDULE = Schedule(rounds=3, calls=1, settle=0.0, seed=0)
_BATCH, _SIDE = 8, 224  # images; fewer gain less, since weights are rounded once a step


def mixed_precision_gain(
    backbone: nn.Module, dtype: torch.dtype, device: str = 'cpu', channels_last: bool = False
) -> float:
    """Return how many times as fast as in float32 forward and backward are in mixed precision.

    Args:
        backbone: Takes ``(8, 3, 224, 224)`` and returns maps; left as it is but for its statistics.
        dtype: Of the mixed precision.
        device: Where to measure.
        channels_last: Whether weights and input are in that order.
    """
    order = torch.channels_last if channels_last else torch.contiguous_format
    backbone = backbone.to(device, memory_format=order).train()  # type: ignore[call-overload]
    x = torch.ones(_BATCH, 3, _SIDE, _SIDE, device=device).to(memory_format=order)
    mixed = partial(torch.autocast, device.partition(':')[0], dtype)
    calls = [_step(backbone, x, precision) for precision in (nullcontext, mixed)]
    with torch.random.fork_rng():
        seconds = time_calls(calls, make_timer(device), _SCHEDULE)
    return speed_up(*seconds)['median']


def _step(backbone: nn.Module, x: Tensor, precision: Callable) -> Callable[[], object]:
    def step() -> None:
        with precision():
            found = backbone(x)
        maps = found if isinstance(found, (list, tuple)) else [found]
        torch.stack([one.float().mean() for one in maps]).sum().backward()
        backbone.zero_grad()

    return step


def warn_of_slow_precision(cfg: Config, options: TrainOptions) -> list[str]:
    """With ``--bf16`` or ``--amp``, measure on the backbone of a config, a few seconds, if it pays.

    Returns:
        What the log should say if it is slower than float32.
    """
    if not (options.speed.bf16 or options.speed.amp) or 'backbone' not in cfg.model:
        return []
    name, dtype = ('--amp', torch.float16) if options.speed.amp else ('--bf16', torch.bfloat16)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'

    def measure() -> float:
        backbone = MODELS.build({**cfg.model.backbone, 'init_cfg': None})
        if not any(parameter.requires_grad for parameter in backbone.parameters()):
            return 1.0  # nothing is trained that could be measured
        backbone = revert_sync_batchnorm(backbone)
        return mixed_precision_gain(backbone, dtype, device, options.speed.channels_last)

    init_default_scope(cfg.get('default_scope', 'mmengine'))
    gain = on_first_rank(measure)
    if gain >= 1:
        return []
    other = '' if options.speed.channels_last else ', or try --channels-last with it'
    return [
        f'warning: {name} is slower than float32 on this {device.upper()}: {gain:.2f} times its '
        f'speed, measured on forward and backward of the backbone. Leave it out{other}'
    ]
