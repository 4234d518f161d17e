"""Drop path and dropout of processes that share the images of an iteration.

The generators of all processes start an iteration in the same state
(:mod:`casvit_mm.engine.seeding`). What drops images or their channels draws for the images of all
processes, and each process takes the rows of its own. So the same is dropped of an image, whatever
the number of processes, as if one had drawn for the whole batch.

Dropout of single numbers would draw as much as all processes together need. There each process
draws for itself, and otherwise than the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from timm.layers import DropPath
from torch import Tensor, nn

__all__ = ['BatchPart', 'drop_by_part']


@dataclass
class BatchPart:
    """Which images of an iteration are those of the batch at hand: every nth, from one on.

    Args:
        first: Place of its first image among those of all processes.
        step: From one of its images to the next: the number of parts.
    """

    first: int
    step: int


def _keep(x: Tensor, shape: tuple[int, ...], probability: float, part: BatchPart) -> Tensor:
    """Draw 1 or 0 for the images of all parts; return those of one, ``(B, *shape)``."""
    drawn = x.new_empty((len(x) * part.step, *shape)).bernoulli_(probability)
    return drawn[part.first :: part.step]


class _PartDropPath(DropPath):
    """Drop path of one part of the images."""

    def __init__(self, module: DropPath, part: BatchPart) -> None:
        super().__init__(module.drop_prob, module.scale_by_keep)
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.drop_prob):
            return x
        probability = 1 - self.drop_prob
        kept = _keep(x, (1,) * (x.ndim - 1), probability, self.part)
        return x * (kept / probability if self.scale_by_keep and probability else kept)


class _PartDropout2d(nn.Dropout2d):
    """Dropout of the channels ``(B, C, H, W)`` of one part of the images."""

    def __init__(self, module: nn.Dropout2d, part: BatchPart) -> None:
        super().__init__(module.p)
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and 0 < self.p < 1) or x.ndim != 4:
            return super().forward(x)
        return x * (_keep(x, (x.shape[1], 1, 1), 1 - self.p, self.part) / (1 - self.p))


class _PartDropout(nn.Dropout):
    """Dropout of single numbers, from a stream that is the part's own."""

    def __init__(self, module: nn.Dropout, part: BatchPart) -> None:
        super().__init__(module.p)
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and 0 < self.p < 1):
            return super().forward(x)
        # A number of the common generator, so that gradient checkpointing finds it again.
        seed = int(torch.randint(2**62, ())) + self.part.first
        generator = torch.Generator(x.device).manual_seed(seed)
        kept = torch.empty_like(x).bernoulli_(1 - self.p, generator=generator)
        return x * (kept / (1 - self.p))


_OF_PART = {DropPath: _PartDropPath, nn.Dropout2d: _PartDropout2d, nn.Dropout: _PartDropout}


def drop_by_part(model: nn.Module, part: BatchPart) -> None:
    """Let the modules that drop draw for a part of the images, which may change later, in place.

    A model that sees all images of an iteration at once is left as it is: it would draw the same.
    """
    if part.step == 1:
        return
    for parent in list(model.modules()):
        for name, module in parent.named_children():
            replacement = _OF_PART.get(type(module))
            if replacement is not None:
                setattr(parent, name, replacement(module, part).train(module.training))
