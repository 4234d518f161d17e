"""Models; importing this registers them in MMEngine's root registry and in timm."""

from casvit_mm.models.casvit import ARCHS, CASViT
from casvit_mm.models.norm import AutoSyncBatchNorm
from casvit_mm.models.timm_casvit import TimmCASViT

__all__ = ['ARCHS', 'AutoSyncBatchNorm', 'CASViT', 'TimmCASViT']
