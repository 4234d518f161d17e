"""What classification configs use beside the backbone. Needs mmpretrain."""

import casvit_mm.models  # noqa: F401  registers CASViT for configs that import only this
from casvit_mm.classification.sampler import MultiScaleBatchSampler
from casvit_mm.classification.transforms import MultiScaleRandomResizedCrop, TimmRandAugment

__all__ = ['MultiScaleBatchSampler', 'MultiScaleRandomResizedCrop', 'TimmRandAugment']
