"""Checks of a config before anything is built: a typing error should cost seconds, not an hour."""

from __future__ import annotations

import difflib
import inspect
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config

from casvit_mm.config_files import PREFIX, config_path
from casvit_mm.datasets.coco import CocoSummary, check_coco
from casvit_mm.datasets.layouts import LAYOUTS, describe_missing
from casvit_mm.datasets.own_data import innermost_dataset, needs_masks
from casvit_mm.errors import InputError
from casvit_mm.models import CASViT, FViT
from casvit_mm.safe_loading import read_files_safely
from casvit_mm.zoo import how_to_get

__all__ = [
    'check_backbone',
    'check_datasets',
    'check_is_detector',
    'check_pretrained',
    'read_config',
]


def read_config(path: str | Path) -> Config:
    """Read a config, and let nothing run what the files contain that it names.

    Args:
        path: A path, the name of one of ours, ``casvit_mm::NAME.py``, or of another framework's,
            such as ``mmpretrain::resnet/resnet18_8xb32_in1k.py``.

    Raises:
        InputError: If there is no such file.
    """
    read_files_safely()
    name = str(path)
    if '::' not in name or name.startswith(PREFIX):
        return Config.fromfile(config_path(path))
    try:
        return get_config(name)
    except (AssertionError, ImportError, OSError, ValueError) as error:
        raise InputError(
            f'config {name} is not there; of another framework it is PACKAGE::FOLDER/NAME.py, such '
            f'as mmpretrain::resnet/resnet18_8xb32_in1k.py ({error})'
        ) from error


def check_is_detector(cfg: Config) -> None:
    """Refuse a config of another task where only detectors are known.

    Raises:
        InputError: Saying so.
    """
    other = {
        'mmseg': ('segmentation', '--show-dir draws'),
        'mmpretrain': ('classification', '--analysis draws'),
    }.get(cfg.get('default_scope'))
    if other is not None:
        raise InputError(
            f'{cfg.filename} is a {other[0]} config, and this command knows detectors only. '
            f'Train and evaluate it by tools/train.py and tools/test.py ({other[1]}).'
        )


def check_backbone(cfg: Config) -> None:
    """Refuse arguments that a backbone of ours does not have or cannot take.

    Raises:
        InputError: Naming the argument and the nearest one that exists.
    """
    backbone = cfg.model.get('backbone', {})
    kind = next((k for k in (CASViT, FViT) if backbone.get('type') in (k, k.__name__)), None)
    if kind is None:
        return
    known = [name for name in inspect.signature(kind.__init__).parameters if name != 'self']
    for name in backbone:
        if name not in ('type', *known):
            near = difflib.get_close_matches(name, known, n=1)
            raise InputError(
                f'{cfg.filename}: model.backbone has no argument {name!r}; '
                f'{f"did you mean {near[0]!r}? " if near else ""}{kind.__name__} takes '
                f'{", ".join(known)}'
            )
    try:
        kind(**{k: v for k, v in backbone.items() if k not in ('type', 'init_cfg')})
    except (TypeError, ValueError) as error:
        raise InputError(f'{cfg.filename}: model.backbone: {error}') from error


def check_pretrained(cfg: Config) -> None:
    """Refuse to train from a pretrained file that is not there.

    Raises:
        InputError: Saying where to get the file and how to do without.
    """
    init_cfg = cfg.model.get('backbone', {}).get('init_cfg') or {}
    path = init_cfg.get('checkpoint') if isinstance(init_cfg, dict) else None
    if path and '://' not in path and not Path(path).expanduser().is_file():
        raise InputError(
            f'pretrained weights {path!r} (model.backbone.init_cfg.checkpoint of {cfg.filename}) '
            f'do not exist.\n{how_to_get(path)}\nAnother file: --pretrained PATH. Train without: '
            '--from-scratch'
        )


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
                f'{_official_cure(dataset.ann_file, root)}'
                'To use your own data: --data dataset.yaml (docs/own_data.md)'
            )
        summaries[split] = check_coco(annotations, images, where, with_masks=needs_masks(cfg))
    return summaries


def _official_cure(ann_file: str, root: Path) -> str:
    """Return what COCO lacks under ``root``, where ``ann_file`` is one of COCO's own."""
    if ann_file not in (part.path for part in LAYOUTS['coco'].parts):
        return ''
    return describe_missing('coco', root)
