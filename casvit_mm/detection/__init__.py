"""What the detection configs use beside the backbone: dataset, metric, pictures. Needs mmdet."""

import casvit_mm.models  # noqa: F401  registers CASViT for configs that import only this
from casvit_mm.detection.dataset import NamedCocoDataset
from casvit_mm.detection.evaluation.hooks import AllRanksVisualizationHook
from casvit_mm.detection.evaluation.metric import CocoAP

__all__ = ['AllRanksVisualizationHook', 'CocoAP', 'NamedCocoDataset']
