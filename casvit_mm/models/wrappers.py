"""OpenMMLab's models as functions of the pre-processed image alone."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

__all__ = ['Logits', 'WholeModel', 'as_function']


class Logits(nn.Module):
    """A classifier of mmpretrain or a segmentor of mmseg, up to its logits.

    Args:
        model: In eval mode.

    Shape:
        ``(B, 3, H, W) -> (B, num_classes)`` of a classifier, ``(B, num_classes, h, w)`` of a
        segmentor.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x, mode='tensor')


class WholeModel(nn.Module):
    """A detector or segmentor from the pre-processed image to its predictions.

    Args:
        model: Of mmdet or mmseg, in eval mode.
        sample_type: Class of its data samples.

    Shape:
        ``(B, 3, H, W) -> list of B data samples``.
    """

    def __init__(self, model: nn.Module, sample_type: type) -> None:
        super().__init__()
        self.model = model
        self._sample_type = sample_type

    def forward(self, x: Tensor) -> Any:
        return self.model(x, self.samples(x), mode='predict')

    def samples(self, x: Tensor) -> list[Any]:
        """Return a data sample without labels for each image of ``(B, 3, H, W)``."""
        size = tuple(x.shape[2:])
        meta = dict(
            img_shape=size,
            ori_shape=size,
            pad_shape=size,
            batch_input_shape=size,
            scale_factor=(1.0, 1.0),
            padding_size=[0, 0, 0, 0],
        )
        return [self._sample_type(metainfo=meta) for _ in range(len(x))]


def as_function(model: nn.Module, scope: str) -> nn.Module:
    """Return a model of a config as a function of the image.

    Args:
        model: In eval mode.
        scope: The config's ``default_scope``. Of mmdet and mmseg the whole way to the predictions
            is taken, of mmpretrain the logits; any other model is returned as it is.
    """
    if scope == 'mmdet':
        from mmdet.structures import DetDataSample

        return WholeModel(model, DetDataSample)
    if scope == 'mmseg':
        from mmseg.structures import SegDataSample

        return WholeModel(model, SegDataSample)
    return Logits(model) if scope == 'mmpretrain' else model
