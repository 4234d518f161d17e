"""What the detection configs use beside the backbone: dataset and metric. Needs mmdet."""

import casvit_mm.models  # noqa: F401  registers CASViT for configs that import only this
from casvit_mm.detection.dataset import NamedCocoDataset
from casvit_mm.detection.metric import CocoAP

__all__ = ['CocoAP', 'NamedCocoDataset']
