"""Points any segmentation config of mmseg at the prepared splits of a dataset."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.config import Config, ConfigDict

from casvit_mm.config.class_counts import set_num_classes
from casvit_mm.config.editing import (
    add_import,
    describe_other_classes,
    dicts_in,
)
from casvit_mm.config.forms import type_name
from casvit_mm.datasets.description import SPLITS
from casvit_mm.datasets.in_configs import check_model_type, described_root, replace_dataset
from casvit_mm.errors import InputError
from casvit_mm.segmentation.data.description import IGNORED, SegmentationDescription
from casvit_mm.segmentation.data.prepare import PreparedSplit

__all__ = ['apply_splits', 'check_config']


def check_config(cfg: Config, splits: tuple[str, ...] = SPLITS) -> None:
    """Refuse a config that cannot read segmentation masks.

    Args:
        cfg: The config.
        splits: Splits that will be read.

    Raises:
        InputError: If it is no segmentation config of mmseg, or lacks a dataloader.
    """
    check_model_type(cfg, splits, 'EncoderDecoder', 'segmentation masks', 'segmentation')


def apply_splits(
    cfg: Config,
    data: SegmentationDescription,
    prepared: dict[str, PreparedSplit],
    classes: tuple[str, ...] | None = None,
) -> None:
    """Point a segmentation config at the prepared splits of a dataset, in place.

    Args:
        cfg: A config that :func:`check_config` accepts.
        data: The dataset.
        prepared: Its splits, for the dataloaders of the same names.
        classes: Names in the order of a trained model's outputs; None if there is none.

    Raises:
        InputError: If ``classes`` are not those of the data, or the config weighs the classes of
            other data.
    """
    if classes is not None and tuple(classes) != data.classes:
        raise InputError(describe_other_classes(data.path, data.classes, tuple(classes)))
    for name, split in prepared.items():
        fields = dict(
            type='LabelDataset',
            data_root=described_root(data, name),
            ann_file=str(split.file),
            reduce_zero_label=data.reduce_zero_label,
            metainfo=dict(
                classes=data.classes,
                palette=[list(colour) for colour in data.palette],
                ignore=sorted(data.ignore),
            ),
        )
        for step in _loading_steps(replace_dataset(cfg, name, fields)):
            # The dataset says it; two that differ are an assertion of mmseg's.
            step.pop('reduce_zero_label', None)
    set_num_classes(cfg, len(data.classes))
    for node in dicts_in([cfg.model, cfg.get('val_evaluator'), cfg.get('test_evaluator')]):
        if 'ignore_index' in node:
            node.ignore_index = IGNORED
    add_import(cfg, 'casvit_mm.segmentation')


def _loading_steps(dataset: ConfigDict) -> Iterator[ConfigDict]:
    for step in dicts_in(dataset.pipeline):
        if type_name(step).endswith('LoadAnnotations'):
            yield step
