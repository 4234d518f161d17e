"""Detectors of one stage whose file ends at the maps of the head; NumPy does the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.models.dense_heads import RTMDetInsHead, YOLOXHead
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from torch import Tensor, nn

from casvit_mm.errors import InputError
from casvit_mm.export.box_decoders import dense_decoders
from casvit_mm.export.detection_parts import Suppress
from casvit_mm.export.detectors import MAX_PER_IMG, level_strides
from casvit_mm.export.networks import features_of, network_of

__all__ = ['HeadMaps', 'outside_settings']


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
    decoder: Any = dense_decoders(head)[0]
    suppress = Suppress(cfg.nms, cfg.get('max_per_img', MAX_PER_IMG))
    return dict(
        levels=_levels(head.prior_generator),
        offset=float(getattr(head.prior_generator, 'offset', 0.0)),
        coder=decoder.settings(),
        divisor=model.data_preprocessor.pad_size_divisor,
        score_thr=float(cfg.get('score_thr', 0.0)),
        nms_pre=int(cfg.get('nms_pre', -1)),
        min_side=float(cfg.get('min_bbox_size', -1)),
        iou_thr=suppress.iou_thr,
        max_per_img=suppress.max_per_img,
        one_class=isinstance(head, YOLOXHead),
        mask_widths=list(head.bias_nums) if isinstance(head, RTMDetInsHead) else [],
    )


def _levels(priors: Any) -> list[dict[str, Any]]:
    """Return stride and anchors around position 0 of each level; no anchors where it has points."""
    with_anchors = isinstance(priors, AnchorGenerator)
    return [
        dict(
            stride=stride[0],
            anchors=priors.base_anchors[number].tolist() if with_anchors else [],
        )
        for number, stride in enumerate(priors.strides)
    ]


class HeadMaps(nn.Module):
    """What the head says of all places: nothing is decoded, and nothing chosen.

    Shape:
        ``(B, 3, H, W)`` -> of each level, with its stride in the name, ``logits8``
        ``(B, a * K, h, w)`` and ``codes8`` ``(B, a * C, h, w)`` of boxes, for ``a`` anchors per
        position; from some heads ``factors8`` ``(B, a, h, w)``, logits of a factor of the scores;
        from RTMDet-Ins ``kernels8`` ``(B, E, h, w)`` and, once, ``features`` ``(B, C, h, w)``.
    """

    def __init__(self, model: Any, with_factor: bool) -> None:
        super().__init__()
        self.strides = level_strides(model.bbox_head)
        self.network = nn.ModuleDict(network_of(model))
        self.head = model.bbox_head
        self.with_masks = isinstance(self.head, RTMDetInsHead)
        kinds = ('logits', 'codes') + ('factors',) * with_factor + ('kernels',) * self.with_masks
        self.names = tuple(f'{kind}{stride}' for kind in kinds for stride in self.strides)
        self.names += ('features',) * self.with_masks

    def forward(self, x: Tensor, height: int, width: int) -> list[Tensor]:
        maps: Sequence[Any] = self.head(features_of(self.network, x))
        if self.with_masks:
            *maps, features = maps
            maps = [*maps, [features]]
        return [each.float() for kind in maps for each in kind]
