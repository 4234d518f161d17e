"""Image and video files: which there are, and how an image becomes pixels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from casvit_mm.datasets.files import IMAGE_SUFFIXES
from casvit_mm.deploy.images import quiet_opencv, read_image
from casvit_mm.deploy.videos import is_video
from casvit_mm.errors import InputError

__all__ = ['MediaFile', 'find_media', 'leaves_high_bits_unused', 'list_media', 'read_image']


def leaves_high_bits_unused(path: str | Path) -> bool:
    """Return whether a readable 16-bit image uses 14 of its bits or fewer.

    Cameras with 10 to 14 bits store such files. :func:`read_image`, like training, turns them
    nearly black.
    """
    content = np.frombuffer(Path(path).read_bytes(), np.uint8)
    with quiet_opencv():
        image = cv2.imdecode(content, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    assert image is not None  # read_image has read it
    return image.dtype == np.uint16 and 0 < image.max() < 2**14


@dataclass(frozen=True)
class MediaFile:
    """An image or video to work on.

    Attributes:
        path: The file.
        name: Its path from the nearest folder that holds all inputs; no two files share one.
        is_video: Whether it is a video, by its suffix.
    """

    path: Path
    name: str
    is_video: bool


def find_media(
    inputs: Sequence[str | Path], outputs: Sequence[Path]
) -> tuple[list[MediaFile], int]:
    """List the images and videos that ``inputs`` stand for.

    A folder stands for all images in it and below, without hidden ones; its videos must be named
    themselves. A file named twice is listed once.

    Args:
        inputs: Files and folders.
        outputs: Folders of results, left out where they lie inside a folder of ``inputs``.

    Returns:
        The files in the order of ``inputs``, folders sorted; and the number of files in folders
        that are no images or lie in ``outputs``.

    Raises:
        InputError: If an input is missing or lies in one of ``outputs``, or a folder holds no
            image.
    """
    media, skipped = list_media(inputs, outputs)
    return list(media), skipped


def list_media(
    inputs: Sequence[str | Path], outputs: Sequence[Path]
) -> tuple[Iterator[MediaFile], int]:
    """Return the same one after the other: a million paths are held as text.

    Raises:
        InputError: As :func:`find_media`, at once.
    """
    closed = [Path(os.path.abspath(folder)) for folder in outputs]
    files: dict[str, str] = {}  # as given, by the whole path
    roots = []
    skipped = 0
    for given in map(Path, inputs):
        whole = Path(os.path.abspath(given))
        if not given.exists():
            raise InputError(f'input {given} does not exist')
        if any(whole.is_relative_to(folder) for folder in closed):
            raise InputError(
                f'input {given} lies where results are written and could be replaced by one. Name '
                'another --out-dir.'
            )
        roots.append(whole if given.is_dir() else whole.parent)
        if not given.is_dir():
            files.setdefault(str(whole), str(given))
            continue
        number, others = _walk(given, closed, files)
        if not number:
            raise InputError(
                f'folder {given} holds no image ({others} other files). Known are '
                f'{" ".join(sorted(IMAGE_SUFFIXES))}; videos are named one by one.'
            )
        skipped += others
    common = len(os.path.join(os.path.commonpath(roots), ''))
    media = (
        MediaFile(Path(path), whole[common:], is_video(whole)) for whole, path in files.items()
    )
    return media, skipped


def _walk(folder: Path, closed: Sequence[Path], files: dict[str, str]) -> tuple[int, int]:
    """Add the images below ``folder`` but outside ``closed`` to ``files``.

    Returns:
        Their number, and that of the rest.
    """
    images = others = 0
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != '.')
        whole = os.path.abspath(parent)
        is_result = any(Path(whole).is_relative_to(other) for other in closed)
        for name in sorted(name for name in names if name[0] != '.'):
            if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not is_result:
                files.setdefault(os.path.join(whole, name), os.path.join(parent, name))
                images += 1
            else:
                others += 1
    return images, others
