"""From what a mask holds to the values that training reads, where ``classes`` says how.

Values and colours become positions of classes; the copies in which they stand are written once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from casvit_mm.datasets.image_scan import read_in_threads
from casvit_mm.io import replacing
from casvit_mm.segmentation.data.description import IGNORED, LARGEST, SegmentationDescription
from casvit_mm.segmentation.data.sources import ImagePair

__all__ = ['Recoded', 'Recoding', 'copy_masks', 'describe_coding', 'write_masks']

_UNKNOWN = -1
_KEPT = 256  # foreign values of a mask that are remembered
_INTEGERS = ('1', 'L', 'P', 'I', 'I;16', 'I;16B', 'I;16L')


@dataclass(frozen=True)
class Recoded:
    """A mask as training reads it.

    Attributes:
        values: uint8 ``(H, W)``; what has no class is 255.
        unknown: Where a pixel is neither a class nor ignored, bool ``(H, W)``.
        foreign: Pixels of the most frequent values or colours (``'#804080'``) that are no class
            and not ignored.
    """

    values: np.ndarray
    unknown: np.ndarray
    foreign: dict[str, int]


class Recoding:
    """Turns masks into the values that training reads, as a description says.

    Args:
        data: The description.
    """

    def __init__(self, data: SegmentationDescription) -> None:
        self._by_value = self._by_colour = None
        if data.values is not None:
            self._by_value = np.full(LARGEST + 2, _UNKNOWN, np.int16)
            self._by_value[list(data.values)] = list(data.values.values())
        if data.colours is not None:
            self._by_colour = np.full(2**24, _UNKNOWN, np.int16)
            codes = [(red << 16) + (green << 8) + blue for red, green, blue in data.colours]
            self._by_colour[codes] = list(data.colours.values())
        entries = [*(data.values or {}).items(), *(data.colours or {}).items()]
        self.name = json.dumps(sorted(entries, key=str))

    def __call__(self, image: Image.Image) -> Recoded | None:
        """Return what training reads in place of a mask; None if it reads the file itself."""
        if self._by_colour is not None and image.mode in ('RGB', 'RGBA'):
            parts = np.asarray(image).astype(np.int32)  # (H, W, 3 or 4)
            codes = (parts[..., 0] << 16) + (parts[..., 1] << 8) + parts[..., 2]
            return _look_up(codes, self._by_colour, '#{:06x}')
        if self._by_value is None:
            return None
        values = np.asarray(image)
        if image.mode in ('LA', 'RGB', 'RGBA'):
            values = values[..., : 1 if image.mode == 'LA' else 3]
            if (values != values[..., :1]).any():
                return None
            values = values[..., 0]  # a grey image of several channels
        elif image.mode not in _INTEGERS:
            return None
        return _look_up(values.astype(np.int32), self._by_value, '{}')


def _look_up(codes: np.ndarray, table: np.ndarray, form: str) -> Recoded:
    inside = (codes >= 0) & (codes < len(table))
    values = np.where(inside, table[np.where(inside, codes, 0)], _UNKNOWN)
    unknown = values == _UNKNOWN
    foreign, counts = np.unique(codes[unknown], return_counts=True)
    order = np.argsort(-counts)[:_KEPT]
    found = {form.format(foreign[i]): int(counts[i]) for i in order.tolist()}
    return Recoded(np.where(unknown, IGNORED, values).astype(np.uint8), unknown, found)


def describe_coding(data: SegmentationDescription, recoded: int, total: int) -> str:
    """Say what in the masks stands for the classes.

    Args:
        data: The description.
        recoded: How many masks are not read as they are.
        total: How many there are.
    """
    if data.objects is not None:
        return 'the outlines of annotated objects'
    if data.values is not None:
        return 'the values that classes gives'
    values = f'values {data.first_value} to {data.first_value + len(data.classes) - 1}'
    if data.colours is None:
        return values
    if not recoded:
        return f'{values} of masks that are no RGB images; colours are to draw in'
    others = f', and by {values} in {total - recoded} others' if recoded < total else ''
    return f'the colours that classes gives, in {recoded} RGB masks{others}'


def write_masks(
    pairs: Sequence[ImagePair], recoding: Recoding, folder: Path, name: str
) -> list[ImagePair]:
    """Write masks as training reads them, and return the pairs with these.

    A mask that is there already, of the same file and classes, is kept.

    Args:
        pairs: Images and the masks to recode, which are sound.
        recoding: How.
        folder: Where to write.
        name: What the progress bar calls them.

    Raises:
        InputError: If one cannot be written.
    """
    new = [pair._replace(label=str(_place(pair.label, recoding, folder))) for pair in pairs]
    missing = [
        (old.label, made.label)
        for old, made in zip(pairs, new, strict=True)
        if not os.path.exists(made.label)
    ]
    if missing:
        read_in_threads(partial(_write, recoding), missing, f'writing masks of {name}')
    return new


def copy_masks(pairs: Sequence[ImagePair], folder: Path) -> list[ImagePair]:
    """Copy masks out of the cache, which may be deleted, and return the pairs with the copies.

    Raises:
        InputError: If one cannot be written.
    """
    copied = []
    for pair in pairs:
        label = Path(pair.label)
        place = (folder / f'{label.stem}_{label.parent.name}.png').resolve()
        if not place.exists():
            with replacing(place, 'wb', part=f'.{os.getpid()}') as file:
                file.write(label.read_bytes())
        copied.append(pair._replace(label=str(place)))
    return copied


def _place(label: str, recoding: Recoding, folder: Path) -> Path:
    """Return where a mask is written: another place once the file or the classes change."""
    status = os.stat(label)
    key = f'{label} {status.st_size} {status.st_mtime_ns} {recoding.name}'
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return (folder / f'{Path(label).stem}_{digest}.png').resolve()


def _write(recoding: Recoding, paths: tuple[str, str]) -> None:
    old, new = paths
    with Image.open(old) as image:
        recoded = recoding(image)
    assert recoded is not None
    with replacing(new, 'wb', part=f'.{os.getpid()}') as file:
        Image.fromarray(recoded.values).save(file, 'PNG')
