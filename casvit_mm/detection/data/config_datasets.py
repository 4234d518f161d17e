"""Checks of the data that a detection config names itself, without ``--data``."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config, ConfigDict

from casvit_mm.config.editing import innermost_dataset
from casvit_mm.datasets.formats.coco import CocoSummary, check_coco
from casvit_mm.datasets.layouts import LAYOUTS, describe_missing
from casvit_mm.detection.data.apply import needs_masks
from casvit_mm.errors import InputError

__all__ = ['check_datasets']


def check_datasets(cfg: Config, splits: tuple[str, ...]) -> dict[str, CocoSummary]:
    """Check the COCO-format data that a config names itself, without ``--data``.

    Returns:
        What each split holds, of those in COCO format.

    Raises:
        InputError: If a file is missing or malformed.
    """
    summaries = {}
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        dataset = innermost_dataset(loader) if loader else ConfigDict()
        if not dataset.get('type', '').endswith('CocoDataset'):
            continue
        root = Path(dataset.get('data_root') or '')
        annotations, images = root / dataset.ann_file, root / dataset.data_prefix.img
        where = f'{split}_dataloader.dataset of {cfg.filename}'
        if not annotations.is_file():
            raise InputError(
                f'annotation file {annotations} ({where}) does not exist.\n'
                f'{_describe_official(dataset.ann_file, root)}'
                'To use your own data: --data dataset.yaml (docs/own_data.md)'
            )
        summaries[split] = check_coco(annotations, images, where, with_masks=needs_masks(cfg))
    return summaries


def _describe_official(ann_file: str, root: Path) -> str:
    """Return what COCO lacks under ``root``, where ``ann_file`` is one of COCO's own."""
    if ann_file not in (part.path for part in LAYOUTS['coco'].parts):
        return ''
    return describe_missing('coco', root)
