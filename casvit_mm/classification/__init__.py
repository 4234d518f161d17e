"""What classification configs use beside the backbone. Needs mmpretrain."""

from typing import TYPE_CHECKING

from casvit_mm.registration import provide

if TYPE_CHECKING:
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

__getattr__ = provide(
    __name__,
    {
        'CASViTClsHead': 'casvit_mm.classification.heads',
        'ClassDataset': 'casvit_mm.classification.dataset',
        'ClassificationAccuracy': 'casvit_mm.classification.evaluation.metric',
        'ClassificationPicturesHook': 'casvit_mm.classification.evaluation.hooks',
        'DistilledClassifier': 'casvit_mm.classification.pretraining.distillation',
        'MultiScaleBatchSampler': 'casvit_mm.classification.pretraining.sampler',
        'MultiScaleRandomResizedCrop': 'casvit_mm.classification.pretraining.transforms',
        'OptimizerStepEMAHook': 'casvit_mm.classification.pretraining.ema',
        'TimmRandAugment': 'casvit_mm.classification.pretraining.transforms',
    },
)
