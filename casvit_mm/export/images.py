"""Real images to compare and calibrate on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS

from casvit_mm.config.editing import innermost_dataset
from casvit_mm.datasets.images import find_media
from casvit_mm.datasets.shapes import generate_shapes
from casvit_mm.errors import InputError

__all__ = ['GENERATED', 'images_in', 'sample_images']

GENERATED = 'generated shapes'  # where images come from if there are none of the user


def images_in(folder: str | Path, number: int, option: str) -> list[Path]:
    """Return up to ``number`` images of a folder and below, spread over it.

    Raises:
        InputError: If ``folder`` is no folder, or holds no image.
    """
    if not Path(folder).is_dir():
        raise InputError(f'{option} {folder} is no folder; name one with images')
    return _spread([file.path for file in find_media([folder], [])[0]], number)


@contextmanager
def sample_images(cfg: Config, folder: str | None, number: int) -> Iterator[tuple[list[Path], str]]:
    """Yield images to compare on, and where they come from.

    Args:
        cfg: The config. Its test data is used if it exists, else generated images.
        folder: A folder to use instead; None: as above.
        number: Maximum number of images.

    Raises:
        InputError: If ``folder`` is no folder, or holds no image.
    """
    if folder is not None:
        yield images_in(folder, number, '--images'), str(folder)
        return
    found = _test_images(cfg)
    if found:
        yield _spread(found, number), f'the test data of {Path(cfg.filename).name}'
        return
    with tempfile.TemporaryDirectory() as made:
        generate_shapes(made, sizes=(1, number, 1), side=128, seed=0)
        yield images_in(Path(made, 'val'), number, made), GENERATED


def _test_images(cfg: Config) -> list[Path]:
    dataset = innermost_dataset(cfg.test_dataloader).copy()
    if 'type' not in dataset:  # the config of a checkpoint names no data
        return []
    dataset.update(pipeline=[], test_mode=True)
    try:
        built = DATASETS.build(dataset)
    except FileNotFoundError:  # a model can be exported without its data
        return []
    return [Path(built.get_data_info(i)['img_path']) for i in range(len(built))]


def _spread(files: list[Path], number: int) -> list[Path]:
    places = np.linspace(0, len(files) - 1, min(number, len(files))).astype(int)
    return [files[place] for place in places]
