"""What the detection configs use beside the backbone: dataset, head, metric. Needs mmdet."""

from typing import TYPE_CHECKING

from casvit_mm.registration import provide

if TYPE_CHECKING:
    from casvit_mm.detection.dataset import NamedCocoDataset
    from casvit_mm.detection.evaluation.hooks import DetectionPicturesHook
    from casvit_mm.detection.evaluation.metric import CocoAP
    from casvit_mm.detection.heads import BlockwiseRTMDetInsHead

__all__ = [
    'BlockwiseRTMDetInsHead',
    'CocoAP',
    'DetectionPicturesHook',
    'NamedCocoDataset',
]

__getattr__ = provide(
    __name__,
    {
        'BlockwiseRTMDetInsHead': 'casvit_mm.detection.heads',
        'CocoAP': 'casvit_mm.detection.evaluation.metric',
        'DetectionPicturesHook': 'casvit_mm.detection.evaluation.hooks',
        'NamedCocoDataset': 'casvit_mm.detection.dataset',
    },
)
