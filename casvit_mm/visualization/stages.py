"""The stages of any backbone: what it computes at one resolution, and the map it ends with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from casvit_mm.errors import InputError
from casvit_mm.models.architectures import stage_stride
from casvit_mm.models.inspection import find_casvit

__all__ = ['Stage', 'as_map', 'capture', 'find_stages']

_STRIDES = (4, 8, 16, 32, 64, 14)  # 14 last: on small images it cannot be told from 16
_MAX_PREFIX_TOKENS = 5  # a class token, one for distillation, registers
_NO_BLOCK = (nn.Linear, nn.Conv2d, nn.Identity, nn.Dropout)


@dataclass(frozen=True)
class Stage:
    """What a backbone computes at one resolution.

    Attributes:
        number: From 1.
        stride: Input pixels per position of its map.
        modules: Those that give a map of its width, in the order they run; the last one ends it.
    """

    number: int
    stride: int
    modules: tuple[nn.Module, ...]

    @property
    def end(self) -> nn.Module:
        """The module whose output is that of the stage."""
        return self.modules[-1]

    def as_map(self, value: Tensor, x: Tensor) -> Tensor:
        """Return the output of one of its modules for the input ``x`` as ``(B, C, h, w)``."""
        found = as_map(value, x, self.stride)
        assert found is not None
        return found


def as_map(value: Tensor, x: Tensor, stride: int) -> Tensor | None:
    """Return a map of the given stride in one layout, or None if ``value`` is none.

    Args:
        value: ``(B, C, h, w)``, ``(B, h, w, C)`` or ``(B, N, C)``, where tokens that belong to no
            position come first.
        x: The network's input, ``(B, 3, H, W)``.
        stride: Input pixels per position.

    Returns:
        ``(B, C, h, w)``.
    """
    for rounding in (0, stride - 1):
        height, width = ((side + rounding) // stride for side in x.shape[2:])
        if height * width < 2:
            continue
        if value.ndim == 4 and value.shape[2:] == (height, width):
            return value
        if value.ndim == 4 and value.shape[1:3] == (height, width):
            return value.permute(0, 3, 1, 2)
        if value.ndim == 3 and 0 <= value.shape[1] - height * width <= _MAX_PREFIX_TOKENS:
            patches = value[:, value.shape[1] - height * width :]
            return patches.transpose(1, 2).unflatten(2, (height, width))
    return None


@contextmanager
def capture(modules: Iterable[nn.Module]) -> Iterator[dict[nn.Module, Tensor]]:
    """Collect what each of ``modules`` returns while the context lasts."""
    outputs: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        outputs[module] = output

    hooks = [module.register_forward_hook(keep) for module in modules]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def find_stages(backbone: nn.Module, x: Tensor) -> list[Stage]:
    """Return the stages of a backbone, the finest map first.

    Of CAS-ViT they are its own, each ending with its last block. Of any other backbone a stage is
    what has one stride from 4 to 64; a plain vision transformer has a single one.

    Args:
        backbone: In eval mode.
        x: An input of it, ``(1, 3, H, W)``.

    Raises:
        InputError: If it computes no map.
    """
    ours = find_casvit(backbone)
    if ours is not None:
        last = [list(stage.children())[-1] for stage in ours.stages]
        return [Stage(i + 1, stage_stride(i), (block,)) for i, block in enumerate(last)]
    calls = _trace(backbone, x)
    strides = sorted({call.stride for call in calls})
    stages = []
    for number, stride in enumerate(strides, 1):
        coarser = strides[number] if number < len(strides) else None
        inside = [
            call
            for call in calls
            if call.stride == stride and not _begins_next(call, calls, coarser)
        ]
        modules = [c.module for c in inside if c.channels == inside[-1].channels]
        stages.append(Stage(number, stride, tuple(modules)))
    if not stages:
        raise InputError(
            f'{type(backbone).__name__} computes no feature map with a stride of '
            f'{", ".join(map(str, sorted(_STRIDES)))} px that could be drawn, of an image of '
            f'{x.shape[3]}x{x.shape[2]} px'
        )
    return stages


@dataclass(frozen=True)
class _Call:
    """A module that ran once and gave a map."""

    name: str
    module: nn.Module
    stride_in: int | None
    stride: int
    channels: int


def _begins_next(call: _Call, calls: Sequence[_Call], coarser: int | None) -> bool:
    """Return whether a call lies in a module that takes its stride to the next coarser one."""
    return any(
        call.name.startswith(f'{other.name}.')
        and other.stride_in == call.stride
        and other.stride == coarser
        for other in calls
    )


@torch.no_grad()
def _trace(backbone: nn.Module, x: Tensor) -> list[_Call]:
    """Return the modules that give a map and run once, in the order they end."""
    names = {module: name for name, module in backbone.named_modules() if name}
    calls: list[_Call] = []
    ran: list[nn.Module] = []

    def stride_of(value: object) -> tuple[int, int] | None:
        for stride in _STRIDES:
            found = as_map(value, x, stride) if isinstance(value, Tensor) else None
            if found is not None:
                return stride, found.shape[1]
        return None

    def note(module: nn.Module, inputs: tuple, output: object) -> None:
        ran.append(module)
        found = stride_of(output)
        if found is not None and not isinstance(module, _NO_BLOCK):
            before = stride_of(inputs[0]) if inputs else None
            calls.append(_Call(names[module], module, before and before[0], *found))

    hooks = [module.register_forward_hook(note) for module in names]
    try:
        backbone(x)
    finally:
        for hook in hooks:
            hook.remove()
    return [call for call in calls if ran.count(call.module) == 1]
