"""Checks of the data that a detection config names itself, without ``--data``."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from casvit_mm.config.forms import type_name
from casvit_mm.datasets.formats.coco import check_coco
from casvit_mm.datasets.in_configs import describe_absent, named_datasets
from casvit_mm.datasets.layouts import LAYOUTS
from casvit_mm.detection.data.apply import needs_masks
from casvit_mm.errors import InputError

__all__ = ['check_datasets']

_COCO_FILES = {part.path for part in LAYOUTS['coco'].parts}


def check_datasets(cfg: Config, splits: tuple[str, ...]) -> dict[str, int]:
    """Check the COCO-format datasets that a config names itself.

    Returns:
        Number of images listed by each split in COCO format.

    Raises:
        InputError: If a file is missing or malformed.
    """
    listed = {}
    for split, dataset, where in named_datasets(cfg, splits):
        if not type_name(dataset).endswith('CocoDataset'):
            continue
        root = Path(dataset.get('data_root') or '')
        annotations, images = root / dataset.ann_file, root / dataset.data_prefix.img
        if not annotations.is_file():
            layout = 'coco' if dataset.ann_file in _COCO_FILES else None
            what = f'annotation file {annotations}'
            raise InputError(describe_absent(what, where, layout, root))
        summary = check_coco(
            annotations, images, where, needs_masks(cfg), without_labels=split == 'test'
        )
        listed[split] = summary.num_images
    return listed
