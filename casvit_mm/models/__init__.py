"""Models; importing this registers them in MMEngine's root registry."""

from casvit_mm.models.casvit import ARCHS, CASViT
from casvit_mm.models.norm import AutoSyncBatchNorm

__all__ = ['ARCHS', 'AutoSyncBatchNorm', 'CASViT']
