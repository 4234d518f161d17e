"""What segmentation configs use beside the backbone: data, metric, pictures, model. Needs mmseg."""

from typing import TYPE_CHECKING

from casvit_mm.registration import provide

if TYPE_CHECKING:
    from casvit_mm.segmentation.dataset import LabelDataset
    from casvit_mm.segmentation.evaluation.hooks import SegmentationPicturesHook
    from casvit_mm.segmentation.evaluation.metric import SegmentationIoU
    from casvit_mm.segmentation.prediction.segmentor import LabelSegmentor

__all__ = [
    'LabelDataset',
    'LabelSegmentor',
    'SegmentationIoU',
    'SegmentationPicturesHook',
]

__getattr__ = provide(
    __name__,
    {
        'LabelDataset': 'casvit_mm.segmentation.dataset',
        'LabelSegmentor': 'casvit_mm.segmentation.prediction.segmentor',
        'SegmentationIoU': 'casvit_mm.segmentation.evaluation.metric',
        'SegmentationPicturesHook': 'casvit_mm.segmentation.evaluation.hooks',
    },
)
