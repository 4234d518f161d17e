"""Checks of the data that a classification config names itself, without ``--data``."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from casvit_mm.config.forms import type_name
from casvit_mm.datasets.in_configs import describe_absent, named_datasets
from casvit_mm.errors import InputError

__all__ = ['check_datasets']


def check_datasets(cfg: Config, splits: tuple[str, ...]) -> dict[str, int]:
    """Check that the folders of ImageNet are where a config looks for them.

    Returns:
        Nothing: no file lists the images.

    Raises:
        InputError: If one is missing.
    """
    for _, dataset, where in named_datasets(cfg, splits):
        if type_name(dataset) != 'ImageNet':
            continue
        root = Path(dataset.get('data_root') or '')
        folder = root / (dataset.get('data_prefix') or dataset.get('split') or '')
        if not folder.is_dir():
            raise InputError(describe_absent(f'folder {folder}', where, 'imagenet', root))
    return {}
