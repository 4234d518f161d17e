"""Detectors of one stage whose file leaves the choice among all places to NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import RTMDetInsHead, YOLOXHead
from torch import Tensor, nn

from casvit_mm.errors import InputError
from casvit_mm.export.box_decoders import dense_decoders
from casvit_mm.export.detection_parts import Suppress
from casvit_mm.export.detectors import MAX_PER_IMG, level_strides
from casvit_mm.export.networks import features_of, network_of

__all__ = ['AllPlaces', 'outside_settings']


def outside_settings(model: Any) -> dict[str, Any]:
    """Return what :func:`casvit_mm.deploy.suppression.suppress` does with the file's outputs.

    Raises:
        InputError: If the detector has two stages.
    """
    if getattr(model, 'roi_head', None) is not None:
        raise InputError(
            f'--nms outside: the second stage of a {type(model).__name__} reads the features of '
            'the boxes that the first one keeps, so the choice is within the network. Take a '
            'detector of one stage, such as RTMDet'
        )
    cfg, head = model.test_cfg, model.bbox_head
    priors = head.prior_generator
    suppress = Suppress(cfg.nms, cfg.get('max_per_img', MAX_PER_IMG))
    strides = [stride[0] for stride in priors.strides]
    with_masks = isinstance(head, RTMDetInsHead)
    return dict(
        levels=[list(pair) for pair in zip(strides, priors.num_base_priors, strict=True)],
        divisor=model.data_preprocessor.pad_size_divisor,
        score_thr=float(cfg.get('score_thr', 0.0)),
        nms_pre=int(cfg.get('nms_pre', -1)),
        min_side=float(cfg.get('min_bbox_size', -1)),
        iou_thr=suppress.iou_thr,
        max_per_img=suppress.max_per_img,
        one_class=isinstance(head, YOLOXHead),
        mask_widths=list(head.bias_nums) if with_masks else [],
        mask_offset=float(priors.offset) if with_masks else 0.0,
    )


class AllPlaces(nn.Module):
    """The boxes and scores of all places, of which nothing is chosen yet.

    Shape:
        ``(B, 3, H, W)`` -> boxes ``(B, N, 4)`` and scores ``(B, N, K)``, level after level, within
        a level row after row; from some heads a factor of the scores ``(B, N)``; from RTMDet-Ins
        kernels, point and stride ``(B, N, E + 3)`` and features ``(B, C, h, w)``.
    """

    def __init__(self, model: Any, with_factor: bool) -> None:
        super().__init__()
        self.strides = level_strides(model.bbox_head)
        self.network = nn.ModuleDict(network_of(model))
        self.head = model.bbox_head
        self.candidates = _Places(model.bbox_head)
        self.with_masks = isinstance(self.head, RTMDetInsHead)
        self.names: tuple[str, ...] = ('boxes', 'scores')
        self.names += ('factors',) * with_factor + ('kernels', 'features') * self.with_masks

    def forward(self, x: Tensor, height: int, width: int) -> list[Tensor]:
        maps = self.head(features_of(self.network, x))
        if not self.with_masks:
            return list(self.candidates(maps, height, width))
        *maps, kernels, features = maps
        found = self.candidates(maps, height, width, kernels)
        return [*found, features.float()]


class _Places(nn.Module):
    def __init__(self, head: Any) -> None:
        super().__init__()
        self.prior_generator = head.prior_generator
        self.classes = head.cls_out_channels
        self.decoders = dense_decoders(head)

    def forward(
        self,
        maps: Sequence[Sequence[Tensor]],
        height: int,
        width: int,
        kernels: Sequence[Tensor] | None = None,
    ) -> list[Tensor]:
        """Return boxes, scores, where there are some factors, and kernels of all places."""
        sizes = [logits.shape[-2:] for logits in maps[0]]
        device = maps[0][0].device
        priors = self.prior_generator.grid_priors(sizes, dtype=torch.float32, device=device)
        levels = []
        for number, (logits, codes, *factors) in enumerate(zip(*maps, strict=True)):
            batch, anchors = logits.shape[0], self.prior_generator.num_base_priors[number]
            codes = _rows(codes, codes.shape[1] // anchors)  # (B, n, C)
            here = priors[number].expand(batch, *priors[number].shape)  # (B, n, 2 or 4)
            boxes = self.decoders[number](here.flatten(0, 1), codes.flatten(0, 1), height, width)
            level = [boxes.reshape(batch, -1, 4), _rows(logits, self.classes).float().sigmoid()]
            level += [_rows(each, 1)[..., 0].float().sigmoid() for each in factors]
            if kernels is not None:
                stride = torch.full_like(here[..., :1], self.prior_generator.strides[number][0])
                kernel = _rows(kernels[number], kernels[number].shape[1]).float()
                level.append(torch.cat([kernel, here, stride], 2))
            levels.append(level)
        return [torch.cat(column, 1) for column in zip(*levels, strict=True)]


def _rows(maps: Tensor, channels: int) -> Tensor:
    """Return maps ``(B, a * C, h, w)`` as ``(B, h * w * a, C)``."""
    return maps.permute(0, 2, 3, 1).reshape(maps.shape[0], -1, channels)
