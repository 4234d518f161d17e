"""Own data: its description, its checks, and a generated set to try things on."""

from casvit_mm.datasets.coco import check_coco
from casvit_mm.datasets.own_data import OwnData, apply_own_data, read_own_data

__all__ = ['OwnData', 'apply_own_data', 'check_coco', 'read_own_data']
