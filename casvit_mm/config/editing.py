"""Edits of a config: classes, limits, datasets and imports, in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS

from casvit_mm.config.forms import entries, type_name, type_of
from casvit_mm.errors import InputError

__all__ = [
    'add_hook',
    'add_import',
    'describe_other_classes',
    'dicts_in',
    'innermost_dataset',
    'innermost_datasets',
    'require_pipelines',
    'single_dataset',
]


def require_pipelines(cfg: Config, splits: Sequence[str]) -> None:
    """Refuse a config without a dataset that ``--data`` could read through.

    Raises:
        InputError: If the dataloader of a split is missing, or its dataset has no pipeline.
    """
    for name in splits:
        loader = cfg.get(f'{name}_dataloader')
        if loader is None or 'pipeline' not in innermost_dataset(loader):
            raise InputError(
                f'{cfg.filename}: {name}_dataloader holds no dataset with a pipeline, which --data '
                'could read through'
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
    imports = cfg.get('custom_imports') or {}
    names = dict.fromkeys([*entries(imports, 'imports'), module])
    cfg.custom_imports = {**imports, 'imports': list(names)}


def innermost_dataset(loader: Mapping[str, Any]) -> ConfigDict:
    """Return a dataloader's dataset without its wrappers; of joined ones the first."""
    return next(innermost_datasets(loader))


def innermost_datasets(node: Mapping[str, Any]) -> Iterator[ConfigDict]:
    """Yield the datasets of a dataloader or wrapper, several where ConcatDataset joins them."""
    inner = entries(node, 'dataset') or entries(node, 'datasets')
    if not inner:
        yield node
    for dataset in inner:
        yield from innermost_datasets(dataset)


def single_dataset(loader: ConfigDict) -> ConfigDict:
    """Return a dataloader's dataset under wrappers, after the first of joined ones replaces all."""
    node = loader.dataset
    while 'dataset' in node or 'datasets' in node:
        if 'datasets' in node:  # ConcatDataset
            first = node.datasets[0]
            node.clear()
            node.update(first)
        else:
            node = node.dataset
    return node


def config_classes(cfg: Config, checkpoint: object) -> tuple[str, ...]:
    """Return the class names of the config's test data, without reading it.

    Args:
        cfg: With a ``test_dataloader``.
        checkpoint: What holds none, for the message.

    Raises:
        InputError: If the config holds none either.
    """
    dataset = innermost_dataset(cfg.test_dataloader)
    default = getattr(type_of(cfg, DATASETS, dataset), 'METAINFO', {})
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


def add_hook(cfg: Config, hook_type: str) -> None:
    """Add a hook unless it is there, as it is in a config copied from a work dir."""
    hooks = entries(cfg, 'custom_hooks')
    if all(type_name(hook) != hook_type for hook in hooks):
        cfg.custom_hooks = [*hooks, dict(type=hook_type)]
