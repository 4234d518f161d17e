"""The images and masks of a training in one file, and training on it: ``--packed``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS, init_default_scope

from casvit_mm.config.editing import innermost_datasets
from casvit_mm.config.forms import type_name
from casvit_mm.config.reading import read_config
from casvit_mm.console import step
from casvit_mm.datasets.packed import check_pack, write_pack
from casvit_mm.engine.options import TrainOptions
from casvit_mm.engine.tasks import task_of
from casvit_mm.errors import InputError
from casvit_mm.task import task_name

__all__ = ['pack_data', 'read_packed']


def pack_data(config: str, out: str | Path, data: str | None = None) -> str:
    """Write the images that a config trains on, and the masks of a segmentor, into a pack.

    Args:
        config: Config file; its scope tells the task.
        out: Folder to make.
        data: ``dataset.yaml`` of the same task; None takes the data that the config names.

    Returns:
        What to say of it.

    Raises:
        InputError: If anything the user gave cannot work.
    """
    with step('reading the config'):
        cfg = read_config(config)
        task = task_of(cfg)
    with tempfile.TemporaryDirectory() as cfg.work_dir:
        with step('reading the annotations'):
            if data is None:
                task.check_datasets(cfg, ('train',))
            else:
                task.apply_dataset(cfg, data, ('train',))
            init_default_scope(cfg.default_scope)
            nodes = list(innermost_datasets(cfg.train_dataloader))
            datasets = [DATASETS.build(node) for node in nodes]
        found = (file for each in datasets for file in _files_of(each, cfg.work_dir))
        files = list(dict.fromkeys(found))
        size = write_pack(files, Path(out), dict(task=task_name(cfg), config=config))
    return f'{out}: {len(files)} files, {size / 2**20:.0f} MiB'


def _files_of(dataset: Any, made: str) -> Iterator[str]:
    """Yield the files of a dataset, without those that were made of its annotations."""
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        for key in ('img_path', 'seg_map_path'):
            if info.get(key) and not str(info[key]).startswith(made):
                yield str(info[key])


def read_packed(cfg: Config, options: TrainOptions) -> list[str]:
    """With ``--packed``, let the training read its images from a pack, in place.

    Returns:
        What the log should say.

    Raises:
        InputError: If the pack is none, damaged or of another task; or the training reads its
            images in a way of its own.
    """
    if options.packed is None:
        return []
    facts = check_pack(Path(options.packed))
    task = task_name(cfg)
    if facts['task'] != task:
        raise InputError(
            f'--packed {options.packed} was made for {facts["task"]} of {facts["config"]}, and '
            f'this config is for {task}'
        )
    names = ('LoadImageFromFile', *(('LoadAnnotations',) if task == 'segmentation' else ()))
    transforms = [
        transform
        for dataset in innermost_datasets(cfg.train_dataloader)
        for transform in dataset.get('pipeline', ())
        if type_name(transform) in names
    ]
    if not transforms:
        raise InputError(f'--packed is for pipelines with {" and ".join(names)}; this has none')
    place = dict(db_path=str(Path(options.packed).absolute()), plain=cfg.work_dir)
    for transform in transforms:
        transform.backend_args = ConfigDict(backend='packed', **place)
    return [f'images are read from the pack {options.packed}, of {facts["files"]} files']
