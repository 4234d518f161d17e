"""A detector of mmdet with a gradient from its scores to its feature maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mmdet.models.dense_heads import base_dense_head
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from casvit_mm.models.wrappers import WholeModel

__all__ = ['DifferentiableDetector']


class DifferentiableDetector(WholeModel):
    """A detector whose scores have a gradient.

    mmdet's one-stage heads cut it off where they pick the maps of one image, since proposals must
    not pass one on in the training of two-stage models.

    Args:
        model: In eval mode.

    Shape:
        ``(B, 3, H, W) -> list of B data samples``.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, DetDataSample)

    def forward(self, x: Tensor) -> Any:
        with _heads_keep_gradients():
            return super().forward(x)


@contextmanager
def _heads_keep_gradients() -> Iterator[None]:
    """Exchange the function of mmdet that cuts the gradient, while the context lasts."""
    original = base_dense_head.select_single_mlvl
    base_dense_head.select_single_mlvl = _maps_of_one_image
    try:
        yield
    finally:
        base_dense_head.select_single_mlvl = original


def _maps_of_one_image(levels: Sequence[Tensor], index: int, detach: bool = True) -> list[Tensor]:
    """Return the maps of one image; mmdet's function detaches them where ``detach``, this never."""
    return [level[index] for level in levels]
