"""Masks whose last layers are predicted for each object, as RTMDet-Ins has them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from casvit_mm.export.detection_parts import Candidates, real_rows

__all__ = ['InstanceMasks']


class InstanceMasks(nn.Module):
    """The convolutions that RTMDet-Ins predicts for its objects, as products of batches.

    Conditional convolutions (https://arxiv.org/abs/2003.05664, section 3.2), 1x1 each; the objects
    are the batch.

    Args:
        head: mmdet's RTMDetInsHead, or one derived from it.

    Shape:
        Features ``(B, C, h, w)`` and ``N`` objects, whose ``details`` are kernels, point and stride
        ``(N, E + 3)``, -> logits ``(N, h, w)``, zero where there is no object.
    """

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.prior_generator = head.prior_generator
        self.sizes = (*head.weight_nums, *head.bias_nums)  # numbers of each layer's parameters
        self.widths = head.bias_nums  # output channels of each layer

    def forward(self, features: Tensor, found: Candidates, real: Tensor) -> Tensor:
        assert found.details is not None  # the candidates of this head have them
        size = features.shape[2:]
        rows = real_rows(real)  # (R,)
        kernels, points, strides = found.details[rows].split([sum(self.sizes), 2, 1], 1)
        centres = self.prior_generator.single_level_grid_priors(size, 0, device=rows.device)
        # From each position to the point of the object, in strides: (R, 2, h * w).
        offsets = (points[..., None] - centres.T) / (strides[..., None] * 8)
        x = torch.cat([offsets, features.float().flatten(2)[found.images[rows]]], 1)
        parameters = kernels.split(self.sizes, 1)
        for number, width in enumerate(self.widths):
            weight = parameters[number].reshape(-1, width, self.sizes[number] // width)
            bias = parameters[number + len(self.widths)][..., None]  # (R, out, 1)
            x = torch.bmm(weight, x) + bias  # (R, out, h * w)
            if number + 1 < len(self.widths):
                x = x.relu()
        masks = x.reshape(-1, *size)
        return masks.new_zeros(real.shape[0], *size).index_put((rows,), masks)
