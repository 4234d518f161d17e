"""What segmentation configs use beside the backbone: data, metric, pictures, model. Needs mmseg."""

import casvit_mm.models  # noqa: F401  registers CASViT for configs that import only this
from casvit_mm.segmentation.dataset import LabelDataset
from casvit_mm.segmentation.evaluation.hooks import SegmentationPicturesHook
from casvit_mm.segmentation.evaluation.metric import SegmentationIoU
from casvit_mm.segmentation.prediction.segmentor import LabelSegmentor

__all__ = ['LabelDataset', 'LabelSegmentor', 'SegmentationIoU', 'SegmentationPicturesHook']
