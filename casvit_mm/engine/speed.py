"""Options that make training faster on the same model: bfloat16, channels last, compilation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, OPTIM_WRAPPERS
from mmengine.runner import Runner
from torch import nn

from casvit_mm.config.forms import entries, type_name
from casvit_mm.distributed.group import unwrapped_model
from casvit_mm.engine.options import TrainOptions
from casvit_mm.errors import InputError

__all__ = [
    'Bfloat16OptimWrapper',
    'ChannelsLastRunner',
    'CompileHook',
    'check_compiler',
    'set_channels_last',
    'set_compilation',
    'set_precision',
]


def set_precision(cfg: Config, options: TrainOptions) -> list[str]:
    """Put ``--amp`` or ``--bf16`` into a config, in place.

    Without a GPU, the float16 that a recipe itself asks for becomes float32.

    Returns:
        What the log should say.

    Raises:
        InputError: If the device does not have the precision that is asked for.
    """
    wrapper, gpu = cfg.optim_wrapper, torch.cuda.is_available()
    if options.speed.amp:
        if not gpu:
            raise InputError('--amp needs a GPU, and torch finds none here; leave it out')
        wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    elif options.speed.bf16:
        if gpu and not torch.cuda.is_bf16_supported():
            raise InputError('--bf16: this GPU does not have bfloat16; use --amp')
        _exchange(wrapper, 'Bfloat16OptimWrapper')
    elif _is_float16(wrapper) and not gpu:
        _exchange(wrapper, 'OptimWrapper')
        return ['no GPU here: trained in float32, not in the mixed precision of the recipe']
    return []


def _is_float16(wrapper: ConfigDict) -> bool:
    return type_name(wrapper) == 'AmpOptimWrapper' and wrapper.get('dtype', 'float16') == 'float16'


def _exchange(wrapper: ConfigDict, kind: str) -> None:
    """Set the type, and remove the keys that only ``AmpOptimWrapper`` knows."""
    wrapper.type = kind
    for key in ('loss_scale', 'dtype', 'use_fsdp'):
        wrapper.pop(key, None)


def set_channels_last(cfg: Config, options: TrainOptions) -> list[str]:
    """Put ``--channels-last`` into a config, for :class:`ChannelsLastRunner`, in place."""
    if options.speed.channels_last:
        cfg.channels_last = True
    return []


def set_compilation(cfg: Config, options: TrainOptions) -> list[str]:
    """Put ``--compile`` into a config as :class:`CompileHook`, in place."""
    if options.speed.compile_backbone:
        others = [h for h in entries(cfg, 'custom_hooks') if type_name(h) != 'CompileHook']
        cfg.custom_hooks = [*others, dict(type='CompileHook')]
    return []


@OPTIM_WRAPPERS.register_module()
class Bfloat16OptimWrapper(OptimWrapper):
    """Mixed precision with bfloat16, which has float32's range and so needs no loss scale.

    MMEngine's ``AmpOptimWrapper`` refuses a host without GPU.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast(get_device(), torch.bfloat16):
            yield


class ChannelsLastRunner(Runner):
    """A Runner whose model is in channels-last order if its config says ``channels_last``.

    Convolutions hand the order on, so the input may come in any. DistributedDataParallel lays out
    its buffers by the weights it is given, hence before it wraps the model.
    """

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> Any:
        if self.cfg.get('channels_last'):
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return super().wrap_model(model_wrapper_cfg, model)


@HOOKS.register_module()
class CompileHook(Hook):
    """Compile the backbone in place when training begins.

    Keys of the state dict and checkpoints stay as they are. Copies made before, such as a moving
    average, are not compiled. Validation runs the compiled backbone as well.

    Args:
        backend: Compiler, by torch's name.
    """

    def __init__(self, backend: str = 'inductor') -> None:
        self.backend = backend

    def before_train(self, runner: Runner) -> None:
        """Compile; torch does the work when the first batch of each kind comes."""
        model: Any = unwrapped_model(runner)
        model.backbone.compile(backend=self.backend)
        runner.logger.info('the backbone is compiled: the first iterations take longer')


def check_compiler() -> None:
    """Compile one small function, so that a host that cannot compile is known before training.

    Raises:
        InputError: Naming what is missing.
    """
    try:
        torch.compile(_small_function)(torch.ones(4, device=get_device()))
    except Exception as error:  # each version of torch has its own way to say so
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise InputError(
            f'--compile: torch {torch.__version__} cannot compile on this host: {reason}\n'
            'On a CPU it needs a C++ compiler (install g++, or name one in CXX), on a GPU triton. '
            'Or leave --compile out.'
        ) from error


def _small_function(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + 1
