"""RTMDet-Ins's head with masks that large photographs have memory for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from mmdet.models.dense_heads import RTMDetInsSepBNHead
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn.functional import interpolate

__all__ = ['BlockwiseRTMDetInsHead']

_BLOCK = 2**24  # pixels of masks that are enlarged at once, 64 MB in single precision


@MODELS.register_module()
class BlockwiseRTMDetInsHead(RTMDetInsSepBNHead):
    """RTMDet-Ins's head (https://arxiv.org/abs/2212.07784, section 3.5), a few masks at a time.

    mmdet's enlarges all masks to the size of the image together: 100 of a photograph of 12 million
    pixels take 10 GB. Weights and results are the same, but that mmdet 3.3, unlike its fork, scales
    the heights of masks by the factor of the width.
    """

    def _bbox_mask_post_process(
        self,
        results: InstanceData,
        mask_feat: Tensor,
        cfg: Mapping[str, Any],
        rescale: bool = False,
        with_nms: bool = True,
        img_meta: Mapping[str, Any] | None = None,
    ) -> InstanceData:
        """Choose among the candidates of one image, and draw the masks of the chosen.

        Args:
            results: ``bboxes``, ``scores``, ``labels``, ``kernels`` and ``priors`` of N candidates.
            mask_feat: ``(C, h, w)``.
            cfg: The test settings.
            rescale: Whether boxes and masks are wanted in pixels of the original image.
            with_nms: Whether to suppress duplicates.
            img_meta: Sizes and scale of the image.

        Returns:
            The chosen K with ``masks``, ``(K, H, W)`` of bool.
        """
        assert img_meta is not None
        results = self._bbox_post_process(results, cfg, rescale, with_nms, img_meta)
        logits = self._mask_predict_by_feat_single(mask_feat, results.kernels, results.priors)
        stride = self.prior_generator.strides[0][0]
        enlarged = [side * stride for side in logits.shape[1:]]
        height, width = enlarged
        if rescale:
            factors = reversed(img_meta['scale_factor'])
            enlarged = [
                math.ceil(side * (1 / factor))
                for side, factor in zip(enlarged, factors, strict=True)
            ]
            height, width = map(min, enlarged, img_meta['ori_shape'])
        masks = torch.empty(len(results), height, width, dtype=torch.bool, device=logits.device)
        at_once = max(1, _BLOCK // (enlarged[0] * enlarged[1]))
        for start in range(0, len(results), at_once):
            block = logits[None, start : start + at_once]
            block = interpolate(block, scale_factor=stride, mode='bilinear')
            if rescale:
                block = interpolate(block, size=enlarged, mode='bilinear', align_corners=False)
            chosen = block[0, :, :height, :width].sigmoid() > cfg['mask_thr_binary']
            masks[start : start + at_once] = chosen
        results.masks = masks
        return results
