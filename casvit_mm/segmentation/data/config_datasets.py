"""Checks of the data that a segmentation config names itself, without ``--data``."""

from __future__ import annotations

import inspect
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS

from casvit_mm.config.forms import type_name, type_of
from casvit_mm.datasets.in_configs import describe_absent, named_datasets
from casvit_mm.errors import InputError, first_names

__all__ = ['check_datasets']

_NAMED = 3  # files that a message names


def check_datasets(cfg: Config, splits: tuple[str, ...]) -> dict[str, int]:
    """Check that the folders which a config names itself hold images with a mask each.

    Returns:
        Nothing: no file lists the images.

    Raises:
        InputError: If a folder is missing or empty, or an image has no mask.
    """
    for _, dataset, where in named_datasets(cfg, splits):
        if {'img_path', 'seg_map_path'} <= set(dataset.get('data_prefix', {})):
            _check_folders(cfg, dataset, where)
    return {}


def _check_folders(cfg: Config, dataset: ConfigDict, where: str) -> None:
    root = Path(dataset.get('data_root') or '')
    images, labels = root / dataset.data_prefix.img_path, root / dataset.data_prefix.seg_map_path
    for folder in (images, labels):
        if not folder.is_dir():
            layout = 'ade20k' if type_name(dataset) == 'ADE20KDataset' else None
            raise InputError(describe_absent(f'folder {folder}', where, layout, root))
    defaults = inspect.signature(type_of(cfg, DATASETS, dataset)).parameters
    image_end, label_end = (
        dataset.get(name, defaults[name].default) for name in ('img_suffix', 'seg_map_suffix')
    )
    found = sorted(path.relative_to(images) for path in images.rglob(f'*{image_end}'))
    if not found:
        raise InputError(f'image folder {images} ({where}) holds no *{image_end}')
    known = {path.relative_to(labels) for path in labels.rglob(f'*{label_end}')}
    lonely = [
        str(path)
        for path in found
        if Path(str(path).removesuffix(image_end) + label_end) not in known
    ]
    if lonely:
        raise InputError(
            f'{len(lonely)} of {len(found)} images in {images} ({where}) have no mask in '
            f'{labels}: {first_names(lonely, _NAMED)}'
        )
