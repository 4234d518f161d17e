"""Which parts of a model need compiled operators of mmcv that are neither there nor lent."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any

from torch import nn

from casvit_mm.errors import InputError
from casvit_mm.ops import operator_source

__all__ = ['check_operators', 'missing_operators']

# Of mmcv.ops, what casvit_mm.ops.torchvision_ops computes.
_LENT = {'nms', 'batched_nms', 'roi_align', 'RoIAlign', 'sigmoid_focal_loss', 'SigmoidFocalLoss'}
# What mmcv itself computes without compiled code, on a CPU.
_ON_CPU = {'MultiScaleDeformableAttention'}


def check_operators(model: nn.Module, config: str, on_gpu: bool) -> None:
    """Refuse a model that would stop at an operator that this mmcv does not have.

    Args:
        model: As built from the config.
        config: Its file, for the message.
        on_gpu: Whether it will run on a GPU.

    Raises:
        InputError: Naming the operators and the parts that need them.
    """
    missing = {} if operator_source() == 'compiled' else missing_operators(model, on_gpu)
    if missing:
        lines = [f'  {operator} (model.{part})' for operator, part in missing.items()]
        where = ' on a GPU' if on_gpu and set(missing) <= _ON_CPU else ''
        raise InputError(
            f'{config}: the model needs operators{where} that are compiled code, and this mmcv was '
            'installed without any:\n' + '\n'.join(lines) + '\nInstall compiled mmcv '
            '(docs/start/install.md), or use a model without them'
            + (', or train on the CPU: CUDA_VISIBLE_DEVICES=-1' if where else '')
        )


def missing_operators(model: nn.Module, on_gpu: bool) -> dict[str, str]:
    """Return the operators that would be missing, each with the first part that needs it."""
    missing: dict[str, str] = {}
    for part, module in model.named_modules():
        for name, owner in _used_operators(module):
            compiled = hasattr(sys.modules[owner.__module__], 'ext_module')
            if compiled and name not in _LENT and (on_gpu or name not in _ON_CPU):
                missing.setdefault(name, part)
    return missing


def _used_operators(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield name and definition of what a module is, or its methods call, of mmcv.ops."""
    for kind in type(module).__mro__:
        if _is_of_mmcv(kind):
            yield kind.__name__, kind
            return  # what it calls is its own affair
        for method in vars(kind).values():
            if inspect.isfunction(method):
                for name in method.__code__.co_names:
                    found = method.__globals__.get(name)
                    owner = getattr(found, '__self__', found)  # of a Function.apply
                    if not isinstance(found, type) and _is_of_mmcv(owner):
                        yield name, owner
    yield from _suppressions(getattr(module, 'test_cfg', None))


def _suppressions(settings: Any) -> Iterator[tuple[str, Any]]:
    """Yield the kinds of non-maximum suppression that a ``test_cfg`` names."""
    from mmcv.ops import nms as plain

    for key, value in settings.items() if isinstance(settings, dict) else ():
        kind = value.get('type', '') if key == 'nms' and isinstance(value, dict) else ''
        named = vars(sys.modules[plain.__module__]).get(kind)
        if inspect.isfunction(named):
            yield kind, named
        yield from _suppressions(value)


def _is_of_mmcv(item: Any) -> bool:
    return str(getattr(item, '__module__', '')).startswith('mmcv.ops.')
