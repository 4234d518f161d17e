"""A user's data set, described in a few lines of YAML, put into any detection config.

::

    root: .                      # counts from this file; may be left out
    train: {annotations: train.json, images: images}
    val:   {annotations: val.json, images: images}
    test:  {annotations: test.json, images: images}    # may be left out: val is used
    max_dets: 100                # raise it where images hold more objects

Classes, the number of classes in every head, paths and evaluators follow from the files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config, ConfigDict

from casvit_mm.datasets.coco import CocoSummary, check_coco
from casvit_mm.errors import InputError

__all__ = [
    'OwnData',
    'Split',
    'apply_own_data',
    'innermost_dataset',
    'needs_masks',
    'raise_max_dets',
    'read_own_data',
    'set_num_classes',
]

_SPLITS = ('train', 'val', 'test')


@dataclass(frozen=True)
class Split:
    """One split.

    Attributes:
        annotations: COCO annotation file.
        images: Folder that ``file_name`` in it counts from.
    """

    annotations: Path
    images: Path


@dataclass(frozen=True)
class OwnData:
    """A data set as its YAML file describes it.

    Attributes:
        path: The YAML file.
        splits: Split by name; ``train`` and ``val`` always, ``test`` where given.
        max_dets: Detections per image that training and evaluation allow for.
    """

    path: Path
    splits: dict[str, Split]
    max_dets: int = 100


def read_own_data(path: str | Path) -> OwnData:
    """Read a ``dataset.yaml``.

    Raises:
        InputError: If it is missing, not YAML, or has unknown, missing or malformed fields.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f'data description {path} (--data) does not exist')
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f'{path} (--data) is not YAML: {error}') from error
    if not isinstance(content, dict):
        raise InputError(f'{path} (--data) must hold fields like "train:"; see docs/own_data.md')
    _refuse_unknown(content, {'root', 'max_dets', *_SPLITS}, str(path))

    root = path.parent / str(content.get('root', '.'))
    splits = {}
    for name in _SPLITS:
        if name not in content:
            if name != 'test':
                raise InputError(f'{path} lacks {name!r}, with fields annotations and images')
            continue
        entry = content[name]
        if not isinstance(entry, dict) or not {'annotations', 'images'} <= set(entry):
            raise InputError(f'{path}: {name!r} needs the fields annotations and images')
        _refuse_unknown(entry, {'annotations', 'images'}, f'{path}, {name!r}')
        splits[name] = Split(
            (root / str(entry['annotations'])).resolve(), (root / str(entry['images'])).resolve()
        )
    max_dets = content.get('max_dets', 100)
    if not isinstance(max_dets, int) or isinstance(max_dets, bool) or max_dets < 1:
        raise InputError(f'{path}: max_dets must be a positive integer, got {max_dets!r}')
    return OwnData(path, splits, max_dets)


def _refuse_unknown(content: dict, known: set[str], where: str) -> None:
    unknown = sorted(str(key) for key in content if key not in known)
    if unknown:
        raise InputError(f'{where}: unknown field {unknown[0]!r}; known are {sorted(known)}')


def apply_own_data(
    cfg: Config,
    data: OwnData,
    splits: tuple[str, ...],
    classes: tuple[str, ...] | None = None,
) -> dict[str, CocoSummary]:
    """Check ``splits`` of ``data`` and point a detection config at it, in place.

    Args:
        cfg: A config whose dataloaders read COCO format.
        data: The data set.
        splits: Splits that will be read and are therefore checked.
        classes: Names in the order of a trained model's outputs; None takes the categories of the
            first split, in the order of their ids.

    Returns:
        What each of ``splits`` holds.

    Raises:
        InputError: If a split fails its checks, the splits or ``classes`` disagree on the
            categories, or the config does not read COCO format.
    """
    loaders = {name: cfg.get(f'{name}_dataloader') for name in _SPLITS}
    for name, loader in loaders.items():
        if loader is None or not innermost_dataset(loader).type.endswith('CocoDataset'):
            raise InputError(
                f'--data fits configs that read COCO format; {name}_dataloader of {cfg.filename} '
                'does not. Use a maskrcnn or retinanet config.'
            )
    used = {name: data.splits.get(name, data.splits['val']) for name in _SPLITS}
    summaries = {
        name: check_coco(
            used[name].annotations,
            used[name].images,
            f'{name} of {data.path}',
            with_masks=needs_masks(cfg),
        )
        for name in splits
    }
    reference = 'the checkpoint'
    for name in splits:
        found = summaries[name].classes
        if classes is None:
            classes, reference = found, name
        elif set(found) != set(classes):
            raise InputError(
                f'{data.path}: {reference} and {name} disagree on the categories '
                f'{sorted(set(found) ^ set(classes))}. Both must list the same categories, also '
                'those without objects.'
            )
    assert classes is not None

    for name, loader in loaders.items():
        innermost_dataset(loader).update(
            type='NamedCocoDataset',
            data_root='',
            ann_file=str(used[name].annotations),
            data_prefix=dict(img=str(used[name].images)),
            metainfo=dict(classes=classes),
        )
    for name in ('val', 'test'):
        cfg[f'{name}_evaluator'].update(
            ann_file=str(used[name].annotations), max_dets=data.max_dets
        )
    set_num_classes(cfg, len(classes))
    raise_max_dets(cfg, data.max_dets)
    return summaries


def set_num_classes(cfg: Config, num_classes: int) -> None:
    """Set the number of classes in every head of ``cfg.model``, in place."""
    for node in _dicts(cfg.model):
        if 'num_classes' in node:
            node.num_classes = num_classes


def raise_max_dets(cfg: Config, max_dets: int) -> None:
    """Let every stage of ``cfg.model`` keep at least ``max_dets`` objects per image, in place."""
    for node in _dicts(cfg.model):
        if node.get('max_per_img', max_dets) < max_dets:
            node.max_per_img = max_dets


def needs_masks(cfg: Config) -> bool:
    """Return whether the config's model learns and is scored by masks."""
    metric = cfg.val_evaluator.get('metric', [])
    return 'segm' in ([metric] if isinstance(metric, str) else metric)


def innermost_dataset(loader: ConfigDict) -> ConfigDict:
    """Return a dataloader's dataset under wrappers such as RepeatDataset."""
    dataset = loader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    return dataset


def _dicts(node: Any) -> Iterator[ConfigDict]:
    """Yield every dictionary inside ``node``, itself included."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from _dicts(child)
