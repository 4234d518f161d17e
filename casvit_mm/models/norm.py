"""Batch normalisation that is synchronised where it can be."""

from __future__ import annotations

from mmengine.registry import MODELS
from torch import Tensor, nn

__all__ = ['AutoSyncBatchNorm']


@MODELS.register_module('AutoSyncBN')
class AutoSyncBatchNorm(nn.SyncBatchNorm):
    """Synchronised over the GPUs of a run; plain BatchNorm on one GPU and on CPUs.

    Batches of two to four images per GPU are too small for statistics of their own, while torch's
    SyncBatchNorm refuses to train on the CPUs of several processes. Which one it is shows only when
    a batch arrives, so models built by hand need no conversion either. Weights and their names are
    those of BatchNorm and SyncBatchNorm.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(N, C, ...)``."""
        if input.device.type == 'cpu':
            return nn.modules.batchnorm._BatchNorm.forward(self, input)
        return super().forward(input)
