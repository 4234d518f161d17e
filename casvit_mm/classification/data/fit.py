"""How a classification config fits a dataset: input size and crops against the image sizes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from mmengine.config import Config

from casvit_mm.classification.data.checks import Inspection
from casvit_mm.config.forms import type_name
from casvit_mm.datasets.fit import Fit, advise_balance, describe_heads, pipeline_steps

__all__ = ['classification_fit', 'read_random_crop', 'read_view']

_ENLARGED = 2.0  # times, above which a smaller input shows as much
_FEW_PIXELS = 32  # side of a crop in pixels of the image
_LITTLE = 0.6  # share of an image that the validation shows


def classification_fit(config: str, cfg: Config, inspection: Inspection) -> Fit:
    """Return how a config's input size and crops fit the images of train.

    Args:
        config: Its file.
        cfg: A classification config.
        inspection: What was found; sizes of images are in its scans.

    Raises:
        InputError: If the config weighs the classes of other data.
    """
    heads = describe_heads(cfg, len(inspection.classes))
    counts = dict(zip(inspection.classes, inspection.counts('train').tolist(), strict=True))
    balance = advise_balance(counts, 'recall')
    sizes = np.array([s.upright for s in inspection.scans['train'] if all(s.upright)])
    if not len(sizes):
        return Fit(config, {}, [], balance)
    figures: dict[str, Any] = dict(fewest_images=min(counts.values(), default=0))
    lines, advice = [], []
    if (crop := read_random_crop(cfg)) is not None:
        figures.update(_describe_crop(crop, sizes))
        lines.append(
            f'shows {crop[1]:.0%} to {crop[2]:.0%} of an image in training, at {crop[0]} x '
            f'{crop[0]} px; the smallest such part of a median image is {figures["smallest_part"]} '
            f'px wide, and enlarged {figures["enlarged_part"]:.1f} times'
        )
        advice += _advise_crop(crop, figures)
    if (view := read_view(cfg)) is not None:
        figures.update(_describe_view(view, sizes))
        lines.append(
            f'{"In validation it" if lines else "in validation"} scales the shorter side to '
            f'{view[0]} px, {figures["enlarged"]:.2f} times that of a median image, and shows '
            f'{figures["shown"]:.0%} of the image'
        )
        advice += _advise_view(view, figures)
    if not lines:
        lines.append('has a pipeline of its own, which is not judged')
    return Fit(config, figures, [*lines, heads], [*advice, *balance])


def read_random_crop(cfg: Config) -> tuple[int, float, float] | None:
    """Return side in pixels, smallest and largest share of an image, of the training's crop."""
    for _, step in pipeline_steps(cfg, 'train'):
        if type_name(step).endswith('RandomResizedCrop'):
            low, high = step.get('crop_ratio_range', (0.08, 1.0))
            return _side(step.scale), low, high
    return None


def read_view(cfg: Config) -> tuple[int, int] | None:
    """Return the shorter side that validation scales to, and the side of its crop, in pixels."""
    edge = None
    for _, step in pipeline_steps(cfg, 'val'):
        kind = type_name(step)
        if kind == 'ResizeEdge' and step.get('edge', 'short') == 'short':
            edge = step.scale
        elif kind == 'CenterCrop' and edge is not None:
            return edge, _side(step.crop_size)
    return None


def _side(size: int | tuple[int, int]) -> int:
    return size if isinstance(size, int) else min(size)


def _describe_crop(crop: tuple[int, float, float], sizes: np.ndarray) -> dict[str, Any]:
    side, low, high = crop
    smallest = math.sqrt(low * float(np.median(sizes.prod(axis=1))))
    return dict(
        input_size=side,
        crop_ratio_range=(low, high),
        smallest_part=round(smallest),
        enlarged_part=side / smallest,
    )


def _describe_view(view: tuple[int, int], sizes: np.ndarray) -> dict[str, Any]:
    edge, side = view
    factors = edge / sizes.min(axis=1)
    scaled = sizes * factors[:, None]
    shown = np.minimum(scaled, side).prod(axis=1) / scaled.prod(axis=1)
    return dict(enlarged=float(np.median(factors)), shown=float(np.median(shown)))


def _advise_crop(crop: tuple[int, float, float], figures: dict[str, Any]) -> list[str]:
    part = figures['smallest_part']
    if part >= _FEW_PIXELS or crop[1] >= 1:
        return []
    wanted = min(1.0, crop[1] * (_FEW_PIXELS / max(part, 1)) ** 2)
    return [
        f'A crop of {crop[1]:.0%} of an image is {part} px wide, which may show nothing of the '
        f'class. Raise the lower end of crop_ratio_range in the training pipeline to {wanted:.2f}.'
    ]


def _advise_view(view: tuple[int, int], figures: dict[str, Any]) -> list[str]:
    advice = []
    if figures['enlarged'] > _ENLARGED:
        advice.append(
            f'Images are enlarged {figures["enlarged"]:.1f} times, which shows nothing new. A '
            'config with a smaller input, such as casvit_xs_light.py, costs less.'
        )
    if figures['shown'] < _LITTLE:
        advice.append(
            f'The validation shows {figures["shown"]:.0%} of an image, its middle square. Where an '
            f'end may tell the class, scale to {view[1]} x {view[1]} by Resize in place of '
            'ResizeEdge and CenterCrop.'
        )
    return advice
