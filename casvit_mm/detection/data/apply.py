"""Points any detection config of mmdet at the prepared splits of a dataset."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS

from casvit_mm.config.class_counts import cap_max_dets, raise_max_dets, set_num_classes
from casvit_mm.config.editing import (
    add_import,
    dicts_in,
    innermost_dataset,
    require_pipelines,
    single_dataset,
)
from casvit_mm.config.forms import metric_configs, takes_argument, type_name, type_of
from casvit_mm.datasets.description import SPLITS
from casvit_mm.detection.data.description import DetectionDescription
from casvit_mm.detection.data.prepare import PreparedSplit
from casvit_mm.errors import InputError

__all__ = ['apply_splits', 'check_config', 'least_side', 'needs_masks']


# What CocoAP does without: it reports the classes, and at 100 objects per image, in any case.
_REPORTED = {'type', '_scope_', 'classwise', 'proposal_nums'}


def apply_splits(
    cfg: Config,
    data: DetectionDescription,
    prepared: dict[str, PreparedSplit],
    classes: tuple[str, ...] | None = None,
) -> list[str]:
    """Point a detection config at the prepared splits of a dataset, in place.

    Args:
        cfg: A config that :func:`check_config` accepts.
        data: The dataset.
        prepared: Its splits, for the dataloaders of the same names.
        classes: Names in the order of a trained model's outputs; None takes the first split's.

    Returns:
        What the log should say.

    Raises:
        InputError: If the config weighs the classes of other data.
    """
    from casvit_mm.detection.dataset import NamedCocoDataset

    classes = classes or next(iter(prepared.values())).summary.classes
    for name, split in prepared.items():
        dataset = single_dataset(cfg[f'{name}_dataloader'])
        for key in [key for key in dataset if not takes_argument(NamedCocoDataset, key)]:
            dataset.pop(key)  # of the dataset that was here
        dataset.update(
            type='NamedCocoDataset',
            data_root='',
            ann_file=str(split.annotations),
            data_prefix=dict(img=str(split.images)),
            metainfo=dict(classes=classes),
        )
        if name != 'train':
            _set_truth(cfg, name, dict(ann_file=str(split.annotations), max_dets=data.max_dets))
    set_num_classes(cfg, len(classes))
    raise_max_dets(cfg, data.max_dets)
    most = cap_max_dets(cfg, len(classes))
    add_import(cfg, 'casvit_mm.detection')
    if most is None or most >= data.max_dets:
        return []
    return [f'max_dets {data.max_dets}: the queries of the model give {most} objects per image']


def _set_truth(cfg: Config, split: str, truth: dict[str, Any]) -> None:
    """Give each metric of a split what it takes of ``truth``, in place.

    mmdet's CocoMetric becomes CocoAP, which reports the same under the same names, and the metrics
    of each class; one with settings that CocoAP does not have stays.
    """
    from mmdet.evaluation import CocoMetric

    from casvit_mm.detection.evaluation.metric import CocoAP

    for metric in metric_configs(cfg, split):
        kind = type_of(cfg, METRICS, metric)
        if kind is CocoMetric and all(takes_argument(CocoAP, k) for k in {*metric} - _REPORTED):
            for name in ('classwise', 'proposal_nums'):
                metric.pop(name, None)
            metric.type, kind = 'CocoAP', CocoAP
        # An unknown type is refused where it is built.
        metric.update({k: v for k, v in truth.items() if kind and takes_argument(kind, k)})


def check_config(cfg: Config, splits: tuple[str, ...] = SPLITS) -> None:
    """Refuse a config whose datasets do not give boxes with classes.

    Args:
        cfg: The config.
        splits: Splits that will be read.

    Raises:
        InputError: If a dataloader is missing or reads something else.
    """
    from mmdet.datasets import BaseDetDataset, CocoPanopticDataset

    require_pipelines(cfg, splits)
    for name in splits:
        dataset = innermost_dataset(cfg[f'{name}_dataloader'])
        kind = type_of(cfg, DATASETS, dataset)
        boxes = isinstance(kind, type) and issubclass(kind, BaseDetDataset)
        if not boxes or issubclass(kind, CocoPanopticDataset):
            raise InputError(
                f'--data describes boxes or boxes and masks; {name}_dataloader of {cfg.filename} '
                f'reads {type_name(dataset)}. Use a config of a detector, such as a maskrcnn or '
                'retinanet config.'
            )


def needs_masks(cfg: Config) -> bool:
    """Return whether the config's model learns or is scored by masks."""
    if any(step.get('with_mask') for step in dicts_in(cfg.get('train_dataloader'))):
        return True
    metrics = [m for split in ('val', 'test') for m in metric_configs(cfg, split)]
    return any('segm' in (metric.get('metric') or ()) for metric in metrics)


def least_side(cfg: Config) -> int:
    """Return the pixels below which a side of an image leaves it out of training."""
    return (innermost_dataset(cfg.train_dataloader).get('filter_cfg') or {}).get('min_size', 0)
