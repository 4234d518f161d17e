"""An mmseg segmentor that finds the label map class by class."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor

__all__ = ['LabelSegmentor', 'set_label_segmentor']


def set_label_segmentor(cfg: Config) -> None:
    """Let a config for prediction build :class:`LabelSegmentor` for mmseg's own, in place."""
    if cfg.model.type in ('EncoderDecoder', 'mmseg.EncoderDecoder'):
        cfg.model.type = LabelSegmentor.__name__


@MODELS.register_module()
class LabelSegmentor(EncoderDecoder):
    """``EncoderDecoder`` whose predictions are the labels alone, the same to the last pixel.

    mmseg enlarges the logits of all classes to the input, then to the image, and takes the best:
    for 150 classes that takes longer than the network. Here the map of one class at a time is
    enlarged and compared with the highest so far, which also needs a hundredth of the memory.

    ``seg_logits`` is missing in its predictions, unless mmseg's own way is taken: on a GPU, by
    windows, for a single logit, and with a head that predicts in a way of its own.
    """

    def predict(self, inputs: Tensor, data_samples: Any = None) -> Any:
        """Return ``data_samples`` with ``pred_sem_seg``, int64 ``(1, H, W)`` of each image."""
        if data_samples is None or not self._enlarges_by_class(inputs):
            return super().predict(inputs, data_samples)
        metas = [sample.metainfo for sample in data_samples]
        logits = self.decode_head(self.extract_feat(inputs))  # (B, C, h, w)
        if not logits.is_contiguous():  # channels last: torch adds in another order there
            enlarged = self.decode_head.predict_by_feat(logits, metas)
            return self.postprocess_result(enlarged, data_samples)
        for one, meta, sample in zip(logits.split(1), metas, data_samples, strict=True):
            labels = self._labels(one, metas[:1], meta)
            sample.set_data(dict(pred_sem_seg=PixelData(data=labels[None])))
        return data_samples

    @torch.no_grad()
    def class_logits(self, inputs: Tensor, data_samples: Any) -> list[Tensor]:
        """Return the logits of each image, ``(C, H, W)`` at its original size."""
        metas = [sample.metainfo for sample in data_samples]
        maps = []
        for values, meta in zip(self.inference(inputs, metas).split(1), metas, strict=True):
            inside, size = self._in_the_image(values, meta), tuple(meta['ori_shape'][:2])
            if inside.shape[2:] != size:
                inside = resize(
                    inside, size, mode='bilinear', align_corners=self.align_corners, warning=False
                )
            maps.append(inside[0])
        return maps

    def _enlarges_by_class(self, inputs: Tensor) -> bool:
        head = type(self.decode_head)
        return (
            inputs.device.type == 'cpu'
            and self.test_cfg.get('mode', 'whole') == 'whole'
            and self.out_channels > 1
            and head.predict is BaseDecodeHead.predict
            and head.predict_by_feat is BaseDecodeHead.predict_by_feat
        )

    @torch.no_grad()
    def _labels(self, logits: Tensor, first: list[dict], meta: dict) -> Tensor:
        """Return the best class of each pixel, the lowest number where several are.

        Args:
            logits: Of one image, ``(1, C, h, w)``.
            first: Metainfo of the first image of the batch, whose size all inputs have.
            meta: Metainfo of the image.

        Returns:
            int64 ``(H, W)`` at the original size.
        """
        size = tuple(meta['ori_shape'][:2])
        best = logits.new_full(size, -torch.inf)
        labels = torch.zeros(size, dtype=torch.int64)
        for number in range(logits.shape[1]):
            values = self.decode_head.predict_by_feat(logits[:, number : number + 1], first)
            values = self._in_the_image(values, meta)
            if values.shape[2:] != size:
                values = resize(
                    values, size, mode='bilinear', align_corners=self.align_corners, warning=False
                )
            labels.masked_fill_(values[0, 0] > best, number)
            torch.fmax(values[0, 0], best, out=best)
        return labels

    @staticmethod
    def _in_the_image(values: Tensor, meta: dict) -> Tensor:
        """Take off the padding and turn back what was flipped, as ``postprocess_result`` does."""
        left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', [0] * 4))
        height, width = values.shape[2:]
        values = values[..., top : height - bottom, left : width - right]
        if meta.get('flip'):
            values = values.flip(3 if meta['flip_direction'] == 'horizontal' else 2)
        return values
