"""What the detection configs use beside the backbone: dataset, head, metric. Needs mmdet."""

import casvit_mm.models  # noqa: F401  registers CASViT for configs that import only this
from casvit_mm.detection.dataset import NamedCocoDataset
from casvit_mm.detection.evaluation.hooks import DetectionPicturesHook
from casvit_mm.detection.evaluation.metric import CocoAP
from casvit_mm.detection.heads import BlockwiseRTMDetInsHead

__all__ = ['BlockwiseRTMDetInsHead', 'CocoAP', 'DetectionPicturesHook', 'NamedCocoDataset']
