"""Checks of the data that a detection config names itself, without ``--data``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS

from casvit_mm.config.editing import add_import
from casvit_mm.config.forms import type_name, type_of
from casvit_mm.datasets.formats.coco import check_coco
from casvit_mm.datasets.formats.coco_index import State, open_indexed, state_of
from casvit_mm.datasets.formats.packed import no_collection
from casvit_mm.datasets.in_configs import describe_absent, named_datasets
from casvit_mm.datasets.layouts import LAYOUTS
from casvit_mm.detection.data.apply import needs_masks
from casvit_mm.errors import InputError

__all__ = ['CheckedDatasets', 'check_datasets', 'read_by_image']

_COCO_FILES = {part.path for part in LAYOUTS['coco'].parts}


@dataclass(frozen=True)
class CheckedDatasets:
    """The COCO-format datasets that a config names itself.

    Attributes:
        listed: Number of images by split.
        copies: What was written of those of train that mmdet would read as a whole, with its state.
    """

    listed: dict[str, int]
    copies: dict[Path, State]


@no_collection()
def check_datasets(cfg: Config, splits: tuple[str, ...]) -> CheckedDatasets:
    """Check the COCO-format datasets that a config names itself.

    Those of train are written into the work dir, image by image, for :func:`read_by_image`.

    Raises:
        InputError: If a file is missing or malformed, or the work dir cannot be written to.
    """
    listed = {}
    written = _own_datasets(cfg) if 'train' in splits else ()
    copies = {id(dataset): copy for dataset, copy in written}
    for split, dataset, where in named_datasets(cfg, splits):
        if not type_name(dataset).endswith('CocoDataset'):
            continue
        root = Path(dataset.get('data_root') or '')
        annotations, images = root / dataset.ann_file, root / dataset.data_prefix.img
        if not annotations.is_file():
            layout = 'coco' if dataset.ann_file in _COCO_FILES else None
            what = f'annotation file {annotations}'
            raise InputError(describe_absent(what, where, layout, root))
        summary = check_coco(
            annotations,
            images,
            where,
            needs_masks(cfg),
            without_labels=split == 'test',
            copy=copies.get(id(dataset)),
        )
        listed[split] = summary.num_images
    return CheckedDatasets(listed, {copy: state_of(copy) for copy in copies.values()})


def read_by_image(cfg: Config, checked: CheckedDatasets) -> None:
    """Let training read what :func:`check_datasets` has written, in place.

    mmdet's ``CocoDataset`` holds the annotations of all images in every process, 3 GiB for COCO.
    Images, objects and labels stay the same. What stays mmdet's: a file that lists its categories
    in another order than the classes, since mmdet numbers labels by the file; and a dataset on a
    host that does not see what rank 0 has written.
    """
    from casvit_mm.detection.dataset import NamedCocoDataset

    if not checked.copies:
        return
    for dataset, copy in list(_own_datasets(cfg)):
        indexed = open_indexed(copy)
        if indexed is None or indexed.state != checked.copies.get(copy):
            continue
        classes = (dataset.get('metainfo') or NamedCocoDataset.METAINFO).get('classes', ())
        listed = [category['name'] for category in indexed.categories]
        if [name for name in listed if name in classes] == list(classes):
            dataset.update(type='NamedCocoDataset', ann_file=str(copy))
            add_import(cfg, 'casvit_mm.detection')


def _own_datasets(cfg: Config) -> Iterator[tuple[ConfigDict, Path]]:
    """Yield the datasets of train that mmdet would read as a whole, and where copies belong."""
    from mmdet.datasets import CocoDataset

    for number, (_, dataset, _) in enumerate(named_datasets(cfg, ('train',))):
        plain = not any(dataset.get(key) for key in ('proposal_file', 'backend_args'))
        if plain and type_of(cfg, DATASETS, dataset) is CocoDataset:
            name = f'train_{number}.json' if number else 'train.json'
            yield dataset, Path(cfg.work_dir, 'annotations', name).resolve()
