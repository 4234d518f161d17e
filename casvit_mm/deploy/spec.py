"""What an exported file says of itself, so that prediction needs no other file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from casvit_mm.errors import InputError

__all__ = ['KEY', 'Spec']

KEY = 'casvit_mm'  # under which each format holds the JSON text of a Spec
_VERSION = 1
_MAX_SIDE = 2**20  # pixels; OpenCV's limit


@dataclass(frozen=True)
class Spec:
    """How to use an exported model.

    Attributes:
        task: ``'classification'``, ``'segmentation'``, ``'detection'`` or ``'backbone'``.
        classes: Class names in the order of the outputs; empty for a backbone.
        steps: What the test pipeline does to the size of an image; each entry is named by its
            ``op`` and read by :func:`casvit_mm.deploy.images.resize`.
        mean: Mean of each channel from 0 to 255, in the network's channel order.
        std: Standard deviation, likewise.
        rgb: Whether the network sees red first. Images come as BGR.
        preprocess: ``'inside'``: the file takes BGR pixels from 0 to 255; ``'outside'``: it takes
            normalised values in the network's channel order.
        size: Height and width of the input; None where they are open.
        least: Minimum side of the input in pixels, where sizes are open.
        precision: ``'fp32'``, ``'fp16'``, ``'bf16'`` or ``'int8'``.
        score_thr: Detections below this score are left out of the outputs.
        mask_thr: Probability from which a pixel belongs to a mask.
        mask_stride: Input pixels per position of masks that are logits of the whole input; None
            where they are probabilities within the boxes.
        outside: How :func:`casvit_mm.deploy.suppression.suppress` finds objects in the maps of a
            detector's head; None where the file does that itself.
        label_thr: Probability above which a pixel of a segmentor with a single output is its
            class; None where the largest of several outputs wins.
        align_corners: Whether a segmentor's output is enlarged with its corners in place.
        version: Version of this description.
    """

    task: str
    classes: tuple[str, ...]
    steps: tuple[dict[str, Any], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rgb: bool
    preprocess: str = 'inside'
    size: tuple[int, int] | None = None
    least: int = 1
    precision: str = 'fp32'
    score_thr: float = 0.0
    mask_thr: float = 0.5
    mask_stride: int | None = None
    outside: dict[str, Any] | None = None
    label_thr: float | None = None
    align_corners: bool = False
    version: int = field(default=_VERSION)

    def to_json(self) -> str:
        """Return the text that goes into the file."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None, path: object) -> Spec:
        """Read the text of a file.

        Raises:
            InputError: If there is none, it is damaged, or a newer version of this package wrote
                it.
        """
        if not text:
            raise InputError(
                f'{path} does not say how to use it: casvit-mm export did not write it, or another '
                f'tool has dropped its metadata ({KEY!r})'
            )
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _damaged(path, f'no JSON: {error}') from error
        if not isinstance(content, dict):
            raise _damaged(path, 'no mapping')
        if content.get('version') != _VERSION:
            raise InputError(
                f'{path} has version {content.get("version")!r:.40} of the description, this '
                f'casvit_mm reads version {_VERSION}. Export the model again, or use the casvit_mm '
                'that wrote it.'
            )
        for one in fields(cls):
            if one.name not in content:
                if one.default is MISSING:
                    raise _damaged(path, f'it lacks {one.name!r}')
            elif not _IS_SOUND[one.name](content[one.name]):
                raise _damaged(path, f'{one.name} is {content[one.name]!r:.80}')
        unknown = sorted(set(content) - set(_IS_SOUND))
        if unknown:
            raise _damaged(path, f'it has {unknown[0]!r:.40}, which no version knows')
        for name in ('classes', 'steps', 'mean', 'std'):
            content[name] = tuple(content[name])
        if content.get('size'):
            content['size'] = tuple(content['size'])
        return cls(**content)


def _damaged(path: object, reason: str) -> InputError:
    return InputError(
        f'{path}: the description in it ({KEY!r}) is damaged: {reason}. Copy the file again, or '
        'export the model again'
    )


def _is_number(low: float, high: float) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:  # false for NaN
        return isinstance(value, (int, float)) and type(value) is not bool and low <= value <= high

    return check


def _is_list_of(check: Callable[[Any], bool], *lengths: int) -> Callable[[Any], bool]:
    def check_all(value: Any) -> bool:
        fits = isinstance(value, list) and (not lengths or len(value) in lengths)
        return fits and all(map(check, value))

    return check_all


def _is_one_of(*known: Any) -> Callable[[Any], bool]:
    return lambda value: any(type(value) is type(one) and value == one for one in known)


def _is_side(value: Any) -> bool:
    return type(value) is int and 1 <= value <= _MAX_SIDE


_is_size = _is_list_of(_is_side, 2)
# What each step of a pipeline has beside its interpolation.
_STEPS: dict[str, dict[str, Callable[[Any], bool]]] = {
    'fit': dict(scale=_is_size),
    'letterbox': dict(size=_is_size),
    'stretch': dict(size=_is_size),
    'multiple': dict(divisor=_is_side),
    'short_edge': dict(size=_is_side),
    'center_crop': dict(size=_is_size),
    'pad': dict(size=_is_size, colour=_is_list_of(_is_number(0, 255), 3)),
    'pad_square': dict(colour=_is_list_of(_is_number(0, 255), 3)),
}
_WITHOUT_INTERPOLATION = ('center_crop', 'pad', 'pad_square')
_is_interpolation = _is_one_of('bilinear', 'bicubic', 'pillow-bilinear', 'pillow-bicubic')


def _is_step(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get('op'), str):
        return False
    needed = _STEPS.get(value['op'])
    if needed is None or not all(check(value.get(name)) for name, check in needed.items()):
        return False
    return value['op'] in _WITHOUT_INTERPOLATION or _is_interpolation(value.get('interpolation'))


def _is_mapping(
    entries: dict[str, Callable[[Any], bool]], optional: tuple[str, ...] = ()
) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        fits = isinstance(value, dict) and set(entries) - set(optional) <= set(value) <= set(
            entries
        )
        return fits and all(entries[name](one) for name, one in value.items())

    return check


_is_place = _is_number(-_MAX_SIDE, _MAX_SIDE)
_is_coder = _is_mapping(
    dict(
        kind=_is_one_of('deltas', 'distances', 'distributions', 'centre_and_size'),
        clip=_is_one_of(True, False),
        means=_is_list_of(_is_place, 4),
        stds=_is_list_of(_is_place, 4),
    ),
    optional=('means', 'stds'),
)
# How objects are found outside of the file.
_is_outside = _is_mapping(
    dict(
        levels=_is_list_of(
            _is_mapping(dict(stride=_is_side, anchors=_is_list_of(_is_list_of(_is_place, 4))))
        ),
        offset=_is_number(0, 1),
        coder=lambda value: _is_coder(value) and (value['kind'] != 'deltas') != ('stds' in value),
        divisor=_is_side,
        score_thr=_is_number(0, 1),
        nms_pre=lambda value: type(value) is int,
        min_side=_is_place,
        iou_thr=_is_number(0, 1),
        max_per_img=_is_side,
        one_class=_is_one_of(True, False),
        mask_widths=_is_list_of(_is_side),
    )
)


_IS_SOUND: dict[str, Callable[[Any], bool]] = dict(
    task=_is_one_of('classification', 'segmentation', 'detection', 'backbone'),
    classes=_is_list_of(lambda value: isinstance(value, str)),
    steps=_is_list_of(_is_step),
    mean=_is_list_of(_is_number(-1e6, 1e6), 3),
    std=_is_list_of(_is_number(1e-6, 1e6), 3),
    rgb=_is_one_of(True, False),
    preprocess=_is_one_of('inside', 'outside'),
    size=lambda value: value is None or _is_size(value),
    least=_is_side,
    precision=_is_one_of('fp32', 'fp16', 'bf16', 'int8'),
    score_thr=_is_number(0, 1),
    mask_thr=_is_number(0, 1),
    outside=lambda value: value is None or _is_outside(value),
    mask_stride=lambda value: value is None or _is_side(value),
    label_thr=lambda value: value is None or _is_number(0, 1)(value),
    align_corners=_is_one_of(True, False),
    version=_is_one_of(_VERSION),
)
