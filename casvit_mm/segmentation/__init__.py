"""What the segmentation configs use beside the backbone: metric, pictures. Needs mmseg."""

import casvit_mm.models  # noqa: F401  registers CASViT for configs that import only this
from casvit_mm.segmentation.hooks import SegmentationPicturesHook
from casvit_mm.segmentation.metric import SegmentationIoU

__all__ = ['SegmentationIoU', 'SegmentationPicturesHook']
