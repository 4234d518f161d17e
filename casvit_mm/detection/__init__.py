"""What the detection configs use beside the backbone: dataset, metric, pictures. Needs mmdet."""

import casvit_mm.models  # noqa: F401  registers CASViT for configs that import only this
from casvit_mm.detection.dataset import NamedCocoDataset
from casvit_mm.detection.metric import CocoAP
from casvit_mm.detection.visualization import AllRanksVisualizationHook

__all__ = ['AllRanksVisualizationHook', 'CocoAP', 'NamedCocoDataset']
