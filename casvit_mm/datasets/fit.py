"""How a config fits a dataset, of any task: what its pipelines do to the images, and advice."""

from __future__ import annotations

import contextlib
import copy
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict

from casvit_mm.config.class_counts import heads_of, set_num_classes
from casvit_mm.config.forms import type_name
from casvit_mm.config.paths import PREFIX
from casvit_mm.config.reading import read_config, read_recipe
from casvit_mm.plotting.tables import LiteralConsole
from casvit_mm.registration import register_now

__all__ = [
    'FIRST_RECIPES',
    'Fit',
    'TrainingCrop',
    'advise_balance',
    'describe_heads',
    'load_judged',
    'load_recipe',
    'pipeline_steps',
    'read_crop',
    'read_scale',
    'read_train_scale',
    'scale_factors',
    'scale_options',
]

# For a first training, by what the data have; docs/start/which_config.md has more.
FIRST_RECIPES = {
    'boxes': 'rtmdet_casvit_xs_photos.py',
    'masks': 'rtmdet_ins_casvit_xs_photos.py',
    'segmentation': 'segformer_casvit_xs_light.py',
    'classification': 'casvit_xs_light.py',
}
_UNBALANCED = 20  # times as many of one class as of another


@dataclass(frozen=True)
class Fit:
    """How a config fits the training split.

    Attributes:
        config: Its file.
        figures: Plain values for ``report.json``; empty if there is nothing to measure.
        lines: The same in sentences.
        advice: What to change, the most important first.
    """

    config: str
    figures: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)

    def print(self, screen: LiteralConsole) -> None:
        """Print sentences and advice."""
        if self.lines:
            screen.print('Fit', style='bold')
            text = f'Judged by {Path(self.config).name}, which {self.lines[0]}'
            for line in (text, *self.lines[1:]):
                screen.print(line, soft_wrap=True)
        if self.advice:
            screen.print('Advice', style='bold')
        for line in self.advice:
            screen.print(f'- {line}', soft_wrap=True)


def load_judged(path: str, check_config: Callable[[Config], None]) -> Config:
    """Return a config to judge data by.

    Args:
        path: What :func:`casvit_mm.config.reading.read_config` takes.
        check_config: Refuses a config that cannot read the data.

    Raises:
        InputError: If it cannot be read, has no model, or is refused.
    """
    register_now()
    with contextlib.redirect_stdout(io.StringIO()):  # frameworks tell what they do without
        cfg = read_config(path)
        check_config(cfg)
    return cfg


def load_recipe(kind: str) -> tuple[str, Config]:
    """Return name and content of the recipe for a first training, to judge data by.

    Args:
        kind: A key of :data:`FIRST_RECIPES`.
    """
    name = FIRST_RECIPES[kind]
    return f'{PREFIX}{name}', read_recipe(name)


def pipeline_steps(cfg: Config, split: str) -> Iterator[tuple[str, ConfigDict]]:
    """Yield dotted path and config of each transform of a split; of joined datasets the first."""
    path, node = f'{split}_dataloader.dataset', cfg[f'{split}_dataloader'].dataset
    while 'dataset' in node or 'datasets' in node:
        joined = 'datasets' in node  # ConcatDataset
        path = f'{path}.datasets.0' if joined else f'{path}.dataset'
        node = node.datasets[0] if joined else node.dataset
    for i, step in enumerate(node.pipeline):
        yield f'{path}.pipeline.{i}', step


def read_scale(cfg: Config) -> tuple[int, int] | None:
    """Return the (long, short) limits that validation images are scaled into, or None."""
    for _, step in pipeline_steps(cfg, 'val'):
        if type_name(step) == 'Resize' and step.get('keep_ratio') and step.get('scale'):
            return max(step.scale), min(step.scale)
    return None


def read_train_scale(cfg: Config) -> tuple[tuple[int, int], tuple[float, float]] | None:
    """Return the (long, short) limits that training scales into, and what they are multiplied by.

    Returns:
        The limits, and smallest and largest factor, drawn for each image; None for another scaling.
    """
    for _, step in pipeline_steps(cfg, 'train'):
        scales = step.get('scale')
        if type_name(step) not in ('Resize', 'RandomResize') or not step.get('keep_ratio'):
            continue
        if scales and isinstance(scales[0], int):
            low, high = step.get('ratio_range') or (1, 1)
            return (max(scales), min(scales)), (low, high)
        if scales:  # a range of limits
            small, large = sorted((min(pair), max(pair)) for pair in scales)
            return (large[1], large[0]), (small[0] / large[0], 1)
    return None


@dataclass(frozen=True)
class TrainingCrop:
    """What training cuts out of the scaled images.

    Attributes:
        path: Dotted name of the transform in the config.
        size: Width and height in pixels.
    """

    path: str
    size: tuple[int, int]

    def too_small_for(self, sizes: np.ndarray) -> np.ndarray:
        """Return which things of these widths and heights, ``(N, 2)``, no crop shows whole."""
        return np.any(sizes > np.array(self.size), axis=1)


def read_crop(cfg: Config, height_first: bool) -> TrainingCrop | None:
    """Return the crop of fixed size in the training pipeline; None if there is none.

    Args:
        cfg: The config.
        height_first: Whether the framework writes height before width.
    """
    for path, step in pipeline_steps(cfg, 'train'):
        size = step.get('crop_size')
        if type_name(step) == 'RandomCrop' and size and step.get('crop_type') in (None, 'absolute'):
            sides = (size, size) if isinstance(size, int) else tuple(size)
            return TrainingCrop(path, sides[::-1] if height_first else sides)
    return None


def scale_factors(sizes: np.ndarray, scale: tuple[int, int] | None) -> np.ndarray:
    """Return by how much images grow when scaled.

    Args:
        sizes: Widths and heights, ``(N, 2)``.
        scale: Limits of the long and the short side; None scales nothing.
    """
    if scale is None:
        return np.ones(len(sizes))
    return np.minimum(scale[0] / sizes.max(axis=1), scale[1] / sizes.min(axis=1))


def scale_options(cfg: Config, scale: tuple[int, ...]) -> list[str]:
    """Return the options of ``--cfg-options`` that set the image scale of every pipeline."""
    text = str(tuple(scale)).replace(' ', '')  # --cfg-options reads no blanks
    return [
        f'{path}.scale="{text}"'
        for split in ('train', 'val', 'test')
        for path, step in pipeline_steps(cfg, split)
        if type_name(step) in ('Resize', 'RandomResize') and step.get('scale')
    ]


def describe_heads(cfg: Config, num_classes: int) -> str:
    """Say how many classes each head of a config has, and that training gives it those of the data.

    Args:
        cfg: The config; kept as it is.
        num_classes: Classes of the data.

    Raises:
        InputError: As training would, if a loss has weights of its own for other classes.
    """
    set_num_classes(copy.deepcopy(cfg), num_classes)
    found = ', '.join(
        f'{type_name(head)} {head.get("num_classes", head.get("num_things_classes"))}'
        for head in heads_of(cfg.model)
        if not type_name(head).endswith('DataPreprocessor')
    )
    return f'Classes in the heads: {found}; training makes them {num_classes}, as in the data.'


def advise_balance(counts: Mapping[str, int], judge_by: str) -> list[str]:
    """Advise where one class is 20 times as frequent as another.

    Args:
        counts: How many there are in train, by class.
        judge_by: The metric of each class, e.g. ``'AP'``.
    """
    there = {name: count for name, count in counts.items() if count}
    if len(there) < 2 or max(there.values()) < _UNBALANCED * min(there.values()):
        return []
    largest, smallest = (pick(there, key=lambda n: there[n]) for pick in (max, min))
    return [
        f'Classes are unbalanced: {there[largest]} of {_plain(largest)} and {there[smallest]} of '
        f'{_plain(smallest)} in train. Judge by {judge_by} per class; collect more of the rare '
        'ones.'
    ]


def _plain(name: str) -> str:
    return name if re.fullmatch(r'[\w -]+', name) else repr(name)
