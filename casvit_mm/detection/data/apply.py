"""Points any detection config of mmdet at the prepared splits of a dataset."""

from __future__ import annotations

from mmengine.config import Config

from casvit_mm.config.editing import innermost_dataset, raise_max_dets, set_num_classes
from casvit_mm.datasets.description import SPLITS
from casvit_mm.detection.data.description import DetectionDescription
from casvit_mm.detection.data.prepare import PreparedSplit
from casvit_mm.errors import InputError

__all__ = ['apply_splits', 'check_config', 'needs_masks']


def apply_splits(
    cfg: Config,
    data: DetectionDescription,
    prepared: dict[str, PreparedSplit],
    classes: tuple[str, ...] | None = None,
) -> None:
    """Point a detection config at the prepared splits of a dataset, in place.

    Args:
        cfg: A config whose dataloaders read COCO format.
        data: The dataset.
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


def check_config(cfg: Config) -> None:
    """Refuse a config that cannot read COCO format.

    Raises:
        InputError: If a dataloader reads something else.
    """
    for name in SPLITS:
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
