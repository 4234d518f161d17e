"""Models; importing this registers them in MMEngine's root registry and in timm."""

from casvit_mm.models.architectures import ARCHS
from casvit_mm.models.casvit import CASViT
from casvit_mm.models.feature_pyramid import SimpleFeaturePyramid
from casvit_mm.models.fvit import FVIT_ARCHS, FViT
from casvit_mm.models.norm import AutoSyncBatchNorm
from casvit_mm.models.timm_casvit import TimmCASViT
from casvit_mm.models.token_mixers import TOKEN_MIXERS  # all mixers are registered then

__all__ = [
    'ARCHS',
    'FVIT_ARCHS',
    'TOKEN_MIXERS',
    'AutoSyncBatchNorm',
    'CASViT',
    'FViT',
    'SimpleFeaturePyramid',
    'TimmCASViT',
]
