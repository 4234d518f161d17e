"""Checks of the data that a classification config names itself, without ``--data``."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config, ConfigDict

from casvit_mm.config.editing import innermost_dataset
from casvit_mm.datasets.layouts import describe_missing
from casvit_mm.errors import InputError

__all__ = ['check_datasets']


def check_datasets(cfg: Config, splits: tuple[str, ...]) -> None:
    """Check that the folders of ImageNet are where a config looks for them."""
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        dataset = innermost_dataset(loader) if loader else ConfigDict()
        if dataset.get('type') != 'ImageNet':
            continue
        root = Path(dataset.get('data_root') or '')
        folder = root / (dataset.get('data_prefix') or dataset.get('split') or '')
        if not folder.is_dir():
            raise InputError(
                f'folder {folder} ({split}_dataloader.dataset of {cfg.filename}) does not exist.\n'
                f'{describe_missing("imagenet", root)}'
                'To use your own data: --data dataset.yaml (docs/own_data.md)'
            )
