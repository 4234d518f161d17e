"""Points any classification config of mmpretrain at the prepared splits of a dataset."""

from __future__ import annotations

from mmengine.config import Config

from casvit_mm.classification.data.description import ClassificationDescription
from casvit_mm.classification.data.prepare import PreparedSplit
from casvit_mm.config.class_counts import set_num_classes
from casvit_mm.config.editing import (
    add_import,
    describe_other_classes,
    dicts_in,
)
from casvit_mm.datasets.description import SPLITS
from casvit_mm.datasets.in_configs import check_model_type, described_root, replace_dataset
from casvit_mm.errors import InputError

__all__ = ['apply_splits', 'check_config']


def check_config(cfg: Config, splits: tuple[str, ...] = SPLITS) -> None:
    """Refuse a config that cannot read image folders.

    Args:
        cfg: The config.
        splits: Splits that will be read.

    Raises:
        InputError: If it is no classification config of mmpretrain, or lacks a dataloader.
    """
    check_model_type(cfg, splits, 'Classifier', 'image folders', 'classification')


def apply_splits(
    cfg: Config,
    data: ClassificationDescription,
    prepared: dict[str, PreparedSplit],
    classes: tuple[str, ...] | None = None,
) -> None:
    """Point a classification config at the prepared splits of a dataset, in place.

    Args:
        cfg: A config that :func:`check_config` accepts.
        data: The dataset.
        prepared: Its splits, for the dataloaders of the same names.
        classes: Names in the order of a trained model's outputs; None if there is none.

    Raises:
        InputError: If ``classes`` are not those of the data, or the config weighs the classes of
            other data.
    """
    names = next(iter(prepared.values())).classes
    if classes is not None and tuple(classes) != names:
        message = describe_other_classes(data.path, names, tuple(classes))
        if data.classes is None:
            message += ' Without classes:, those of the data are the names that occur, sorted.'
        raise InputError(message)
    for name, split in prepared.items():
        fields = dict(
            type='ClassDataset',
            data_root=described_root(data, name),
            ann_file=str(split.file),
            metainfo=dict(classes=names),
        )
        replace_dataset(cfg, name, fields)
    _set_number(cfg, len(names))
    add_import(cfg, 'casvit_mm.classification')


def _set_number(cfg: Config, num_classes: int) -> None:
    """Set the number of classes wherever it stands, and cap ``topk`` at it."""
    set_num_classes(cfg, num_classes)
    beside = [cfg.get(name) for name in ('data_preprocessor', 'val_evaluator', 'test_evaluator')]
    for node in dicts_in(beside):
        if node.get('num_classes') is not None:
            node.num_classes = num_classes
    for node in dicts_in([cfg.model, *beside]):
        if 'topk' in node:
            topk = node.topk if isinstance(node.topk, (list, tuple)) else (node.topk,)
            node.topk = tuple(k for k in topk if k <= num_classes) or (1,)
