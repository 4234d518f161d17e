"""What segmentation configs use beside the backbone: dataset, metric, pictures. Needs mmseg."""

import casvit_mm.models  # noqa: F401  registers CASViT for configs that import only this
from casvit_mm.segmentation.dataset import LabelDataset
from casvit_mm.segmentation.evaluation.hooks import SegmentationPicturesHook
from casvit_mm.segmentation.evaluation.metric import SegmentationIoU

__all__ = ['LabelDataset', 'SegmentationIoU', 'SegmentationPicturesHook']
