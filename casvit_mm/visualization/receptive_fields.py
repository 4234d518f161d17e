"""Effective receptive fields (https://arxiv.org/abs/1701.04128): the pixels that move a unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from casvit_mm.visualization.models import VisualizedModel
from casvit_mm.visualization.stages import Stage, capture

__all__ = [
    'SHARES',
    'ReceptiveField',
    'central_crops',
    'effective_receptive_fields',
    'smallest_square',
]

SHARES = (0.5, 0.9, 0.99)
_CROP_MULTIPLE = 32


@dataclass(frozen=True)
class ReceptiveField:
    """How strongly each input pixel moves the unit in the middle of a stage's map.

    Attributes:
        stage: The stage.
        gradient: Mean over the images of the absolute gradient, summed over the colours, of the
            sum of the unit's channels; ``(H, W)``.
        sides: By share of that gradient the side in pixels of the smallest square that holds it.
    """

    stage: Stage
    gradient: np.ndarray
    sides: dict[float, int]


def effective_receptive_fields(
    visualized: VisualizedModel, stages: Sequence[Stage], inputs: Sequence[Tensor]
) -> list[ReceptiveField]:
    """Return the effective receptive field of each stage's central unit, averaged over images.

    Args:
        visualized: The model.
        stages: Of its backbone.
        inputs: One or more images of the same size, ``(1, 3, H, W)``.
    """
    totals = [np.zeros(tuple(inputs[0].shape[2:])) for _ in stages]
    for image in inputs:
        x = image.detach().requires_grad_()
        with capture(stage.end for stage in stages) as outputs:
            visualized.backbone(x)
        for total, stage in zip(totals, stages, strict=True):
            values = stage.as_map(outputs[stage.end], x)
            height, width = values.shape[2:]
            unit = values[0, :, height // 2, width // 2].sum()
            (gradient,) = torch.autograd.grad(unit, x, retain_graph=True)
            total += gradient[0].abs().sum(0).double().cpu().numpy() / len(inputs)
    return [
        ReceptiveField(stage, total, {share: smallest_square(total, share) for share in SHARES})
        for stage, total in zip(stages, totals, strict=True)
    ]


def central_crops(inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return the middle that all inputs have, in multiples of 32 px; equal ones stay as they are.

    Args:
        inputs: Each ``(1, 3, H, W)``.
    """
    if len({value.shape for value in inputs}) == 1:
        return list(inputs)
    height, width = (min(value.shape[axis] for value in inputs) for axis in (2, 3))
    height, width = (max(s // _CROP_MULTIPLE, 1) * _CROP_MULTIPLE for s in (height, width))
    crops = []
    for value in inputs:
        top, left = (value.shape[2] - height) // 2, (value.shape[3] - width) // 2
        crops.append(value[:, :, top : top + height, left : left + width])
    return crops


def smallest_square(gradient: np.ndarray, share: float) -> int:
    """Return the side of the smallest square, wherever it lies, that holds a share of the sum.

    Args:
        gradient: Not negative, ``(H, W)``.
        share: 0 to 1.
    """
    # The border lets a square reach over the edge, where there is nothing.
    border = max(gradient.shape)
    # sums[i, j] is the sum above and to the left of pixel (i, j).
    sums: np.ndarray = cv2.integral(np.pad(gradient, border))
    wanted = share * gradient.sum() * (1 - 1e-9)  # the sums are rounded
    min_side, max_side = 1, border  # the answer lies between them, both included
    while min_side < max_side:
        side = (min_side + max_side) // 2
        # The sum within each square of that side.
        inside = (
            sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
        )
        if inside.max() >= wanted:
            max_side = side
        else:
            min_side = side + 1
    return min_side
