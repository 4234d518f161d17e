"""What classification configs use beside the backbone. Needs mmpretrain."""

import casvit_mm.models  # noqa: F401  registers CASViT for configs that import only this
from casvit_mm.classification.dataset import ClassDataset
from casvit_mm.classification.evaluation.hooks import ClassificationPicturesHook
from casvit_mm.classification.evaluation.metric import ClassificationAccuracy
from casvit_mm.classification.heads import CASViTClsHead
from casvit_mm.classification.pretraining.distillation import DistilledClassifier
from casvit_mm.classification.pretraining.ema import OptimizerStepEMAHook
from casvit_mm.classification.pretraining.sampler import MultiScaleBatchSampler
from casvit_mm.classification.pretraining.transforms import (
    MultiScaleRandomResizedCrop,
    TimmRandAugment,
)

__all__ = [
    'CASViTClsHead',
    'ClassDataset',
    'ClassificationAccuracy',
    'ClassificationPicturesHook',
    'DistilledClassifier',
    'MultiScaleBatchSampler',
    'MultiScaleRandomResizedCrop',
    'OptimizerStepEMAHook',
    'TimmRandAugment',
]
