"""Own data: its description, its checks, and generated sets to try things on."""

from casvit_mm.datasets.class_checks import PreparedClasses, prepare_class_data
from casvit_mm.datasets.class_data import ClassData, read_class_data
from casvit_mm.datasets.coco import check_coco
from casvit_mm.datasets.description import OwnData, described_task, read_own_data
from casvit_mm.datasets.label_checks import PreparedLabels, prepare_label_data
from casvit_mm.datasets.label_data import LabelData, read_label_data
from casvit_mm.datasets.own_data import apply_own_data, prepare_own_data

__all__ = [
    'ClassData',
    'LabelData',
    'OwnData',
    'PreparedClasses',
    'PreparedLabels',
    'apply_own_data',
    'check_coco',
    'described_task',
    'prepare_class_data',
    'prepare_label_data',
    'prepare_own_data',
    'read_class_data',
    'read_label_data',
    'read_own_data',
]
