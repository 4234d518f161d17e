"""A user's data set, checked, put into COCO files and into any detection config."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS

from casvit_mm.datasets.coco import CocoSummary, check_content
from casvit_mm.datasets.defects import first_of
from casvit_mm.datasets.description import OwnData
from casvit_mm.datasets.sources import LoadedSplit, load_split
from casvit_mm.errors import InputError
from casvit_mm.reporting import write_json

__all__ = [
    'PreparedSplit',
    'add_import',
    'apply_own_data',
    'check_reads_coco',
    'describe_other_classes',
    'describe_shared',
    'dicts_in',
    'empty_class',
    'innermost_dataset',
    'list_open_classes',
    'needs_masks',
    'open_names',
    'prepare_own_data',
    'raise_max_dets',
    'refuse_class_weights',
    'require_pipelines',
    'set_num_classes',
    'shared_images',
]


@dataclass(frozen=True)
class PreparedSplit:
    """A checked split as COCO file.

    Attributes:
        annotations: The file: the user's own where it needs no change, else one written by us.
        images: Folder that ``file_name`` in it counts from.
        summary: What it holds.
        dropped: Annotations left out by ``classes``, by category.
    """

    annotations: Path
    images: Path
    summary: CocoSummary
    dropped: dict[str, int]


def prepare_own_data(
    data: OwnData,
    splits: tuple[str, ...],
    folder: str | Path,
    with_masks: bool,
    classes: tuple[str, ...] | None = None,
) -> dict[str, PreparedSplit]:
    """Check splits and make sure that each is one COCO file.

    Args:
        data: The data set.
        splits: Splits that will be read; for one that the set does not have, val is taken.
        folder: Where to write files that have to be put together.
        with_masks: Whether every object needs a segmentation.
        classes: Names in the order of a trained model's outputs; None takes those of the
            description, else the categories of the first split.

    Returns:
        Every one of ``splits``.

    Raises:
        InputError: If a split fails its checks, the splits or ``classes`` disagree on the
            categories, a class has no object to learn from, or splits share images.
    """
    loaded = {name: load_split(data, name) for name in data.used_splits(splits)}
    for split in loaded.values():
        if split.problems:
            raise InputError(first_of([message for _, message in split.problems]))
    summaries = {
        name: check_content(split.content, split.images, split.where, with_masks)
        for name, split in loaded.items()
    }
    names = _agree_on_classes(data, loaded, summaries, classes)
    list_open_classes(loaded, names)
    if message := empty_class(data, loaded):
        raise InputError(message)
    for pair in shared_images(loaded):
        raise InputError(describe_shared(*pair))

    prepared = {}
    for name, split in loaded.items():
        annotations = split.file
        if annotations is None:
            annotations = Path(folder, f'{name}.json').resolve()
            write_json(annotations, split.content)
        summary = replace(summaries[name], classes=names) if split.open_classes else summaries[name]
        prepared[name] = PreparedSplit(annotations, split.images, summary, split.dropped)
    return {name: prepared[data.used_split(name)] for name in splits}


def _agree_on_classes(
    data: OwnData,
    loaded: dict[str, LoadedSplit],
    summaries: dict[str, CocoSummary],
    classes: tuple[str, ...] | None,
) -> tuple[str, ...]:
    """Return the names to learn, after making sure that every split lists them."""
    reference = 'the checkpoint'
    if classes is None:
        reference = next(iter(loaded))
        classes = summaries[reference].classes
        if all(split.open_classes for split in loaded.values()):
            classes = open_names(loaded)
    for name, split in loaded.items():
        differing = set(summaries[name].classes) ^ set(classes)
        if split.open_classes:
            differing -= set(classes)
        if differing:
            raise InputError(
                f'{data.path}: {reference} and {name} disagree on the categories '
                f'{sorted(differing)}. Both must list the same categories, also those without '
                'objects; classes: in the description renames and drops.'
            )
    return classes


def list_open_classes(loaded: dict[str, LoadedSplit], names: tuple[str, ...]) -> None:
    """Give splits whose categories are those that occur the full list of them, in place.

    Names that are not in ``names`` follow behind them.
    """
    for split in loaded.values():
        if not split.open_classes:
            continue
        old = {category['id']: category['name'] for category in split.content['categories']}
        full = list(dict.fromkeys([*names, *old.values()]))
        for annotation in split.content['annotations']:
            annotation['category_id'] = full.index(old[annotation['category_id']]) + 1
        split.content['categories'] = [dict(id=i, name=name) for i, name in enumerate(full, 1)]


def open_names(loaded: dict[str, LoadedSplit]) -> tuple[str, ...]:
    """Return all category names that occur in splits with open classes, in alphabetical order."""
    return tuple(
        sorted(
            {c['name'] for s in loaded.values() if s.open_classes for c in s.content['categories']}
        )
    )


def empty_class(data: OwnData, loaded: dict[str, LoadedSplit]) -> str | None:
    """Return what is wrong if a class has no object in train; None if nothing is.

    A class that a COCO file lists may be empty: somebody wrote it down on purpose.
    """
    train = loaded.get('train')
    if train is None or (data.classes is None and not train.open_classes):
        return None
    by_id = {category['id']: category['name'] for category in train.content['categories']}
    learnt = {
        by_id.get(a['category_id']) for a in train.content['annotations'] if not a.get('iscrowd')
    }
    empty = [name for name in by_id.values() if name not in learnt]
    if not empty:
        return None
    if data.classes is not None:
        return (
            f'{data.path}: classes leaves {empty[0]!r} without an object in train (it takes '
            f'{", ".join(data.classes[empty[0]])}). Correct the names, or leave the class out.'
        )
    return (
        f'{data.path}: class {empty[0]!r} occurs in another split but not in train. A typing '
        'error? Correct it there, or name the classes to learn under classes:'
    )


def shared_images(loaded: dict[str, LoadedSplit]) -> Iterator[tuple[str, str, list[Path]]]:
    """Yield pairs of splits that list the same image files, and these files in order."""
    paths = {
        name: {
            split.images / image['file_name']
            for image in split.content['images']
            if isinstance(image, dict) and isinstance(image.get('file_name'), str)
        }
        for name, split in loaded.items()
    }
    for first, second in itertools.combinations(paths, 2):
        if shared := sorted(paths[first] & paths[second]):
            yield first, second, shared


def describe_shared(first: str, second: str, shared: list[Path]) -> str:
    """Return the message for images that are in two splits."""
    return (
        f'{len(shared)} image(s) are in {first} and in {second}, first {shared[0]}: the figures '
        'would tell what was memorised. Take them out of one split, or let us split one set: '
        'data: and split: {val: 0.2} in the description.'
    )


def apply_own_data(
    cfg: Config,
    data: OwnData,
    prepared: dict[str, PreparedSplit],
    classes: tuple[str, ...] | None = None,
) -> None:
    """Point a detection config at a prepared data set, in place.

    Args:
        cfg: A config whose dataloaders read COCO format.
        data: The data set.
        prepared: Its splits, for the dataloaders of the same names.
        classes: Names in the order of a trained model's outputs; None takes the first split's.
    """
    classes = classes or next(iter(prepared.values())).summary.classes
    for name, split in prepared.items():
        innermost_dataset(cfg[f'{name}_dataloader']).update(
            type='NamedCocoDataset',
            data_root='',
            ann_file=str(split.annotations),
            data_prefix=dict(img=str(split.images)),
            metainfo=dict(classes=classes),
        )
        if name != 'train':
            cfg[f'{name}_evaluator'].update(ann_file=str(split.annotations), max_dets=data.max_dets)
    set_num_classes(cfg, len(classes))
    raise_max_dets(cfg, data.max_dets)


def set_num_classes(cfg: Config, num_classes: int) -> None:
    """Set the number of classes in every head of ``cfg.model``, in place."""
    for node in dicts_in(cfg.model):
        if 'num_classes' in node:
            node.num_classes = num_classes


def raise_max_dets(cfg: Config, max_dets: int) -> None:
    """Let every stage of ``cfg.model`` keep at least ``max_dets`` objects per image, in place."""
    for node in dicts_in(cfg.model):
        if node.get('max_per_img', max_dets) < max_dets:
            node.max_per_img = max_dets


def check_reads_coco(cfg: Config) -> None:
    """Refuse a config that own data in COCO form cannot be put into.

    Raises:
        InputError: If a dataloader reads something else.
    """
    for name in ('train', 'val', 'test'):
        loader = cfg.get(f'{name}_dataloader')
        if loader is None or not innermost_dataset(loader).type.endswith('CocoDataset'):
            raise InputError(
                f'--data fits configs that read COCO format; {name}_dataloader of {cfg.filename} '
                'does not. Use a maskrcnn or retinanet config.'
            )


def needs_masks(cfg: Config) -> bool:
    """Return whether the config's model learns and is scored by masks."""
    metric = cfg.val_evaluator.get('metric', [])
    return 'segm' in ([metric] if isinstance(metric, str) else metric)


def require_pipelines(cfg: Config) -> None:
    """Refuse a config without a dataset that ``--data`` could read through.

    Raises:
        InputError: If a dataloader is missing, or its dataset has no pipeline.
    """
    for name in ('train', 'val', 'test'):
        loader = cfg.get(f'{name}_dataloader')
        if loader is None or 'pipeline' not in innermost_dataset(loader):
            raise InputError(
                f'{cfg.filename}: {name}_dataloader holds no dataset with a pipeline, which --data '
                'could read through'
            )


def refuse_class_weights(cfg: Config, num_classes: int) -> None:
    """Refuse losses with a weight per class of other data.

    Raises:
        InputError: Naming the loss and both numbers.
    """
    for node in dicts_in(cfg.model):
        weights = node.get('class_weight')
        # Heads that classify queries weigh "no object" as well.
        if isinstance(weights, (list, tuple)) and len(weights) - num_classes not in (0, 1):
            raise InputError(
                f'{cfg.filename}: a {node.get("type")} of the model has class_weight for '
                f'{len(weights)} classes, and the data has {num_classes}. Give weights for these '
                'by --cfg-options, or None.'
            )


def describe_other_classes(path: Path, data: tuple[str, ...], checkpoint: tuple[str, ...]) -> str:
    """Return the message for a checkpoint that knows other classes than the data has.

    Args:
        path: The description.
        data: Its classes.
        checkpoint: Those of the checkpoint.
    """
    message = f'{path} and the checkpoint disagree on the classes: '
    if sorted(checkpoint) == sorted(data):
        return f'{message}the same names in another order. The checkpoint has {list(checkpoint)}.'
    added = [name for name in data if name not in checkpoint]
    missing = [name for name in checkpoint if name not in data]
    return (
        f'{message}{len(data)} and {len(checkpoint)} names; only the data has {added}, only '
        f'the checkpoint {missing}. A trained model knows the classes that it was trained on.'
    )


def add_import(cfg: Config, module: str) -> None:
    """Let a config import a module that registers what it names, in place."""
    imports = cfg.get('custom_imports', dict(imports=[]))
    names = dict.fromkeys([*imports['imports'], module])
    cfg.custom_imports = dict(imports, imports=list(names))


def innermost_dataset(loader: ConfigDict) -> ConfigDict:
    """Return a dataloader's dataset under wrappers such as RepeatDataset."""
    dataset = loader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    return dataset


def config_classes(cfg: Config, checkpoint: object) -> tuple[str, ...]:
    """Return the class names of the config's test data, without reading it.

    Args:
        cfg: With a ``test_dataloader``.
        checkpoint: What holds none, for the message.

    Raises:
        InputError: If the config holds none either.
    """
    dataset = innermost_dataset(cfg.test_dataloader)
    # Configs of mmpretrain name its data sets without the scope.
    with DATASETS.switch_scope_and_registry(cfg.get('default_scope')) as datasets:
        default = getattr(datasets.get(dataset.type), 'METAINFO', {})
    names = (dataset.get('metainfo') or {}).get('classes') or default.get('classes')
    if not names:
        raise InputError(
            f'neither {checkpoint} nor {cfg.filename} holds class names. Give them: '
            '--cfg-options "test_dataloader.dataset.metainfo.classes=[first,second]"'
        )
    return tuple(names)


def dicts_in(node: Any) -> Iterator[ConfigDict]:
    """Yield every dictionary inside ``node``, itself included."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from dicts_in(child)
