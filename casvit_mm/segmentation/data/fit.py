"""How a segmentation config fits a dataset: its regions, against image scale, crop and stride."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config

from casvit_mm.config.forms import entries, type_name
from casvit_mm.datasets.fit import (
    Fit,
    TrainingCrop,
    describe_heads,
    pipeline_steps,
    read_crop,
    read_scale,
    read_train_scale,
    scale_factors,
    scale_options,
)
from casvit_mm.datasets.image_scan import read_in_threads
from casvit_mm.errors import first_names, plain_name
from casvit_mm.models.architectures import stage_stride
from casvit_mm.segmentation.data.checks import Inspection
from casvit_mm.segmentation.data.recoding import Recoding
from casvit_mm.segmentation.data.scan import label_values
from casvit_mm.segmentation.data.sources import ImagePair

__all__ = ['finest_stride', 'measure_regions', 'segmentation_fit']

_SAMPLE = 500  # masks; more change no figure in its second digit
_THIN = 0.2  # share of the pixels of a class in thin regions that is worth advice
_LITTLE = 0.1  # share of an image that a crop shows
_PADDED = 0.3  # share of a crop that is padding
_NAMED = 4


def segmentation_fit(config: str, cfg: Config, inspection: Inspection) -> Fit:
    """Return how a config's image scale, crop and stride fit the regions of train.

    A region is a connected part of a class in a mask. It is thin where its area divided by the
    longer side of its box is below the stride of the head: then it covers less than a position.

    Args:
        config: Its file.
        cfg: A segmentation config.
        inspection: What was found.

    Raises:
        InputError: If the config weighs the classes of other data.
    """
    data = inspection.data
    heads = describe_heads(cfg, len(data.classes))
    sizes = np.array([s.size for s in inspection.scans['train'] if all(s.size)]).reshape(-1, 2)
    regions = measure_regions(inspection)
    if not len(sizes) or not len(regions):
        return Fit(config)
    scaling = read_train_scale(cfg) or (read_scale(cfg), (1.0, 1.0))
    scale, (low, high) = scaling
    middle = float(np.clip(1, low, high))
    stride = finest_stride(cfg)
    factors = scale_factors(regions[:, 4:6], scale) * middle
    thin = regions[:, 3] / regions[:, 1:3].max(axis=1) * factors < stride
    figures: dict[str, Any] = dict(
        image_scale=scale,
        scale_range=(low, high),
        stride=stride,
        regions=len(regions),
        thin_regions=float(thin.mean()),
        thin_pixels=_thin_pixels(regions, thin, data.classes),
    )
    lines = [_describe_scale(figures)]
    advice = _advise_thin(figures, cfg)
    if (crop := read_crop(cfg, height_first=True)) is not None:
        scaled = sizes * (scale_factors(sizes, scale) * middle)[:, None]
        figures.update(_describe_crop(crop, scaled, regions[:, 1:3] * factors[:, None]))
        lines.append(
            f'Training crops {crop.size[0]} x {crop.size[1]}: {figures["crop_share"]:.0%} of a '
            f'median image; {figures["larger_than_crop"]:.0%} of the regions are wider or higher; '
            f'{figures["padding"]:.0%} of the inputs is padding.'
        )
        advice += _advise_crop(crop, figures)
    lines += [heads, *_describe_zero_label(cfg, data.reduce_zero_label)]
    return Fit(config, figures, lines, advice)


def finest_stride(cfg: Config) -> int:
    """Return the pixels of the input per position of the finest map that the head reads."""
    head, backbone = (entries(cfg.model, name)[:1] for name in ('decode_head', 'backbone'))
    if not (head and backbone):
        return stage_stride(0)
    if strides := head[0].get('feature_strides'):
        return int(min(strides))
    index = head[0].get('in_index', -1)
    places = index if isinstance(index, (list, tuple)) else [index]
    stages = backbone[0].get('out_indices') or (0, 1, 2, 3)
    finest = min(range(4)[stages[place]] for place in places)
    # A dilated ResNet says by how much each stage divides, the first by none.
    divided: int = math.prod((backbone[0].get('strides') or (1, 2, 2, 2))[: finest + 1])
    return stage_stride(0) * divided


def measure_regions(inspection: Inspection) -> np.ndarray:
    """Return the regions of the masks of train, of a sample where there are many.

    Returns:
        Class, width, height and area in pixels, width and height of the image, float ``(N, 6)``.
    """
    pairs = inspection.pairs['train']
    if len(pairs) > _SAMPLE:
        chosen = np.random.default_rng(0).choice(len(pairs), _SAMPLE, replace=False)
        pairs = [pairs[i] for i in sorted(chosen)]
    data = inspection.data
    values = {data.first_value + k: k for k in range(len(data.classes))}
    learnt = {value: k for value, k in values.items() if value not in data.ignore}
    read = partial(_regions_of, inspection.recoding, learnt)
    found = read_in_threads(read, pairs, 'measuring regions of train')
    return np.concatenate(found) if found else np.zeros((0, 6))


def _regions_of(recoding: Recoding, learnt: dict[int, int], pair: ImagePair) -> np.ndarray:
    """Return the regions of a mask, as :func:`measure_regions`; none of one that is unreadable."""
    values = label_values(pair.label, recoding)
    rows: list[np.ndarray] = [np.zeros((0, 6))]
    for value in np.unique(values).tolist() if values is not None else ():
        if value in learnt:
            part = (values == value).astype(np.uint8)
            found = cv2.connectedComponentsWithStats(part, connectivity=8)[2][1:]
            size = np.tile(part.shape[::-1], (len(found), 1))
            label = np.full((len(found), 1), learnt[value])
            rows.append(np.hstack([label, found[:, [2, 3, 4]], size]).astype(float))
    return np.concatenate(rows)


def _thin_pixels(regions: np.ndarray, thin: np.ndarray, names: tuple[str, ...]) -> dict[str, float]:
    """Return which share of the pixels of each class lies in thin regions."""
    labels, areas = regions[:, 0].astype(int), regions[:, 3]
    whole = np.bincount(labels, areas, minlength=len(names))
    part = np.bincount(labels, areas * thin, minlength=len(names))
    shares = part / np.maximum(whole, 1)
    return {name: round(float(share), 4) for name, share in zip(names, shares, strict=True)}


def _describe_scale(figures: dict[str, Any]) -> str:
    scale, (low, high) = figures['image_scale'], figures['scale_range']
    scaling = f'scales images into {scale[0]} x {scale[1]}' if scale else 'scales no image'
    if (low, high) != (1, 1):
        scaling += f', in training times {low:g} to {high:g}'
    return (
        f'{scaling}, and reads them at a stride of {figures["stride"]}: '
        f'{figures["thin_regions"]:.0%} of the {figures["regions"]:,} regions of train are thinner'
    )


def _advise_thin(figures: dict[str, Any], cfg: Config) -> list[str]:
    thin = {name: share for name, share in figures['thin_pixels'].items() if share >= _THIN}
    if not thin:
        return []
    worst = [
        f'{plain_name(name, 40)} ({share:.0%})'
        for name, share in sorted(thin.items(), key=lambda item: -item[1])
    ]
    advice = (
        f'Regions thinner than the stride of {figures["stride"]} px, which the head can hardly '
        f'part from their surroundings, hold much of: {first_names(worst, _NAMED)}.'
    )
    if scale := figures['image_scale']:
        larger = tuple(2 * side for side in scale)
        advice += (
            ' Twice the scale shows them at twice the width, for four times the time: '
            f'--cfg-options {" ".join(scale_options(cfg, larger))}'
        )
    return [advice]


def _describe_crop(crop: TrainingCrop, images: np.ndarray, regions: np.ndarray) -> dict[str, Any]:
    """Return what a crop shows of scaled images and regions, whose sizes are ``(N, 2)``."""
    shown = np.minimum(images, crop.size).prod(axis=1)
    return dict(
        crop_size=crop.size,
        crop_share=float(np.median(shown / images.prod(axis=1))),
        padding=float(1 - (shown / np.prod(crop.size)).mean()),
        larger_than_crop=float(crop.too_small_for(regions).mean()),
        median_image=np.median(images, axis=0).round().astype(int).tolist(),
    )


def _advise_crop(crop: TrainingCrop, figures: dict[str, Any]) -> list[str]:
    width, height = figures['median_image']
    if figures['crop_share'] < _LITTLE:
        wanted = math.ceil(math.sqrt(_LITTLE * width * height) / 32) * 32
        return [
            f'A crop of {crop.size[0]} x {crop.size[1]} shows {figures["crop_share"]:.1%} of a '
            f'median image, {width} x {height} after scaling. Lower the image scale, or enlarge '
            f'the crop: --cfg-options {_crop_options(crop, (wanted, wanted))}'
        ]
    if figures['padding'] > _PADDED:
        sides = tuple(max(32, side // 32 * 32) for side in (width, height))
        return [
            f'{figures["padding"]:.0%} of the training inputs is padding: images are {width} x '
            f'{height} after scaling. A smaller crop costs less: '
            f'--cfg-options {_crop_options(crop, (sides[0], sides[1]))}'
        ]
    return []


def _crop_options(crop: TrainingCrop, size: tuple[int, int]) -> str:
    """Return the options that set crop and padding, height first."""
    text = f'"({size[1]},{size[0]})"'
    return f'{crop.path}.crop_size={text} model.data_preprocessor.size={text}'


def _describe_zero_label(cfg: Config, of_data: bool) -> list[str]:
    """Say where the config treats value 0 otherwise than the data is described."""
    steps = [s for _, s in pipeline_steps(cfg, 'train') if type_name(s) == 'LoadAnnotations']
    of_config = any(step.get('reduce_zero_label') for step in steps)
    if of_config == of_data:
        return []
    return [
        f'reduce_zero_label: {str(of_config).lower()} in the config, {str(of_data).lower()} in the '
        'data, which decides.'
    ]
