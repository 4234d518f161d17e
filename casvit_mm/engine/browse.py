"""What a network gets to see in training: images of any task after the whole pipeline."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, init_default_scope

from casvit_mm.config.reading import read_config
from casvit_mm.config.value_checks import MAX_SEED
from casvit_mm.console import counted, step
from casvit_mm.datasets.browsing import InputCounts
from casvit_mm.datasets.pipeline_trace import nested
from casvit_mm.datasets.views import draw_overview, draw_row
from casvit_mm.engine.setup import default_work_dir
from casvit_mm.engine.tasks import task_of
from casvit_mm.errors import InputError
from casvit_mm.io import check_writable
from casvit_mm.task import Task

__all__ = ['BrowseReport', 'browse']


@dataclass(frozen=True)
class BrowseReport:
    """What was drawn.

    Attributes:
        folder: Where the pictures are.
        listed: Images that the split lists; None where only the dataset itself knows.
        used: Images that the dataset keeps of them.
        counts: What was seen on the way, of the task.
    """

    folder: Path
    listed: int | None
    used: int
    counts: InputCounts

    def lines(self) -> list[str]:
        """Return the report as lines to print."""
        heights, widths = zip(*self.counts.inputs, strict=True)
        return [
            f'images    {self.used} used' + (f' of {self.listed} listed' if self.listed else ''),
            f'inputs    {len(heights)} drawn, {min(heights)} to {max(heights)} px high, '
            f'{min(widths)} to {max(widths)} px wide',
            *self.counts.lines(),
            f'pictures  {self.folder}/overview.png and one per image',
            *(f'warning: {warning}' for warning in self.warnings()),
        ]

    def warnings(self) -> list[str]:
        """Return what the user should know before training."""
        found = []
        if self.listed is not None and self.used < self.listed:
            found.append(
                f'{self.listed - self.used} of {self.listed} images are never used: the dataset '
                'leaves out images without an object or smaller than filter_cfg.min_size'
            )
        return found + self.counts.warnings()


def browse(
    config: str,
    *,
    data: str | None = None,
    split: str = 'train',
    count: int = 16,
    copies: int = 2,
    seed: int = 0,
    out: str | None = None,
) -> BrowseReport:
    """Draw what a network sees of some images: the original beside augmented network inputs.

    Inputs have passed the whole pipeline and the data preprocessor; normalisation is undone for the
    eye, padding is hatched. The same seed gives the same pictures.

    Args:
        config: Config file; its scope tells the task.
        data: ``dataset.yaml`` of the same task; None takes the data that the config names.
        split: ``'train'``, ``'val'`` or ``'test'``.
        count: Number of images, drawn at random; all where there are fewer.
        copies: Network inputs per image.
        seed: Chooses the images and drives the pipeline.
        out: Folder for the pictures; ``work_dirs/<config>_<data>/browse`` if None.

    Returns:
        What was seen, to be printed.

    Raises:
        InputError: If anything the user gave cannot work.
    """
    if min(count, copies) < 1:
        raise InputError(f'--count and --copies must be 1 or more, got {count} and {copies}')
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f'--seed {seed} is not between 0 and {MAX_SEED}')
    with step('reading the config'):
        cfg = read_config(config)
        task = task_of(cfg)
    if cfg.get(f'{split}_dataloader') is None:
        raise InputError(f'{config} has no {split}_dataloader; choose another --split')
    folder = Path(out or f'{default_work_dir(config, data)}/browse')
    check_writable({}, {'--out': str(folder)})
    # The dataset reads lists, and may read masks, that are written for it.
    with tempfile.TemporaryDirectory() as cfg.work_dir:
        with step('reading the annotations'):
            dataset, listed = _build(cfg, task, split, data)
        artist = task.sample_artist(cfg, dataset, split == 'train')
        folder.mkdir(parents=True, exist_ok=True)
        rows, names = [], []
        chosen = _choose(dataset, count, seed)
        for number, index in enumerate(counted(chosen, 'drawing', len(chosen)), 1):
            name = Path(dataset.get_data_info(index)['img_path']).name
            seeds = np.random.SeedSequence([seed, index]).generate_state(copies)
            views = artist.draw(index, [int(s) for s in seeds])
            draw_row(views, folder / f'{number:03d}_{Path(name).stem}.png')
            rows.append(views)
            names.append(f'{number:03d}: original{_content(views[0].title)}, inputs')
        draw_overview(rows, names, folder / 'overview.png')
    used = sum(len(node) for node in nested(dataset) if isinstance(node, BaseDataset))
    return BrowseReport(folder, listed, used, artist.counts)


def _content(title: str) -> str:
    """Return what the title of an original says below its name, as the class, in brackets."""
    _, *lines = title.splitlines()
    return f' ({", ".join(lines)})' if lines else ''


def _build(cfg: Config, task: Task, split: str, data: str | None) -> tuple[Any, int | None]:
    """Return the dataset of a split as training reads it, and how many images it lists."""
    if data is None:
        listed = task.check_datasets(cfg, (split,)).get(split)
    else:
        listed, _ = task.apply_dataset(cfg, data, (split,))
    init_default_scope(cfg.default_scope)
    return DATASETS.build(cfg[f'{split}_dataloader'].dataset), listed


def _choose(dataset: Any, count: int, seed: int) -> list[int]:
    """Return indices of ``count`` different images, also where a wrapper repeats them."""
    chosen: dict[Any, int] = {}
    for index in np.random.default_rng(seed).permutation(len(dataset)):
        chosen.setdefault(dataset.get_data_info(int(index))['img_path'], int(index))
        if len(chosen) == count:
            break
    return list(chosen.values())
