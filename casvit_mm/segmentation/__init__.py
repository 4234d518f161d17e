"""What segmentation configs use beside the backbone. Needs mmseg."""

import casvit_mm.models  # noqa: F401  registers CASViT for configs that import only this
from casvit_mm.segmentation.dataset import LabelDataset

__all__ = ['LabelDataset']
