"""Batch normalisation that is synchronised where it can be."""

from __future__ import annotations

from mmengine.registry import MODELS
from torch import Tensor, distributed, nn

__all__ = ['AutoSyncBatchNorm']


@MODELS.register_module('AutoSyncBN')
class AutoSyncBatchNorm(nn.BatchNorm2d):
    """Synchronised over the GPUs of a run; plain BatchNorm on one GPU and on CPUs.

    Batches of two to four images per GPU are too small for statistics of their own, while torch's
    SyncBatchNorm refuses to train on the CPUs of several processes. Which one it is shows only when
    a batch arrives, so models built by hand need no conversion either. Weights and their names are
    those of BatchNorm and SyncBatchNorm. It is no subclass of SyncBatchNorm, since
    DistributedDataParallel refuses those on CPUs whatever they do there.
    """

    # What SyncBatchNorm.forward reads beside the attributes of every batch norm.
    process_group = None  # all processes
    _check_non_zero_input_channels = nn.SyncBatchNorm._check_non_zero_input_channels

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(N, C, H, W)``."""
        several = distributed.is_available() and distributed.is_initialized()
        if self.training and several and input.device.type != 'cpu':
            return nn.SyncBatchNorm.forward(self, input)  # type: ignore[arg-type]
        return super().forward(input)
