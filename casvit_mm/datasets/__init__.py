"""Own data: its description, its checks, and a generated set to try things on."""

from casvit_mm.datasets.coco import check_coco
from casvit_mm.datasets.description import OwnData, read_own_data
from casvit_mm.datasets.own_data import apply_own_data, prepare_own_data

__all__ = ['OwnData', 'apply_own_data', 'check_coco', 'prepare_own_data', 'read_own_data']
