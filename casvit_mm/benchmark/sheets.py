"""Put images of a detection dataset together into large ones, to measure tiles with.

python -m casvit_mm.benchmark.sheets --data dataset.yaml --split val --grid 4x4 --out sheets
casvit-mm test CKPT --data sheets/dataset.yaml
casvit-mm test CKPT --data sheets/dataset.yaml --tile 640 --overlap 0.2
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from casvit_mm.cli import cli
from casvit_mm.datasets.formats.outlines import decode_segmentation, place_crop
from casvit_mm.datasets.writers.base import ImageLabels
from casvit_mm.datasets.writers.registry import check_free
from casvit_mm.deploy.images import read_image
from casvit_mm.deploy.rle import encode_mask
from casvit_mm.detection.data.convert import labelled_set
from casvit_mm.detection.data.description import read_dataset
from casvit_mm.errors import InputError
from casvit_mm.io import write_json

__all__ = ['Sheets', 'main', 'read_split', 'write_sheets']


@dataclass(frozen=True)
class Sheets:
    """What was written.

    Attributes:
        data: The ``dataset.yaml``.
        sheets: Large images.
        objects: On all of them.
        left: Images of the split that filled no sheet.
    """

    data: Path
    sheets: int
    objects: int
    left: int

    def __str__(self) -> str:
        return (
            f'{self.sheets} sheets with {self.objects} objects; {self.left} images filled no '
            f'further sheet\n{self.data}'
        )


def write_sheets(data: str | Path, split: str, grid: tuple[int, int], out: str | Path) -> Sheets:
    """Write sheets of images of one size, side by side without a gap, and the truth as COCO.

    Boxes and polygons are moved, masks stay masks. Images follow one another as in the dataset.

    Args:
        data: What ``--data`` takes.
        split: ``'train'``, ``'val'`` or ``'test'``.
        grid: Images in a row, and rows, of a sheet.
        out: Folder to make: ``images``, ``sheets.json`` and ``dataset.yaml``, whose every split are
            these sheets and whose ``max_dets`` is that of an image times the images of a sheet.

    Raises:
        InputError: If the dataset cannot be read, has no such split, has too few images of any size
            for one sheet, or ``out`` exists.
    """
    out = Path(out)
    check_free(out)
    images, categories = read_split(data, split)
    content: dict[str, Any] = dict(images=[], annotations=[], categories=categories)
    cells = grid[0] * grid[1]
    chosen = list(_fill(images, cells))
    if not chosen:
        raise InputError(
            f'{data}: a sheet of {grid[0]}x{grid[1]} takes {cells} images of one size, and {split} '
            f'has {len(images)} images and fewer of any size; take a smaller --grid'
        )
    (out / 'images').mkdir(parents=True)
    for number, group in enumerate(chosen, 1):
        name = f'{number:03d}.png'
        sheet, objects = _join(group, grid)
        if not cv2.imwrite(str(out / 'images' / name), sheet):
            raise InputError(f'{out}/images/{name} cannot be written; make room')
        height, width = sheet.shape[:2]
        content['images'].append(dict(id=number, file_name=name, width=width, height=height))
        for one in objects:
            numbers = dict(id=len(content['annotations']) + 1, image_id=number)
            content['annotations'].append({**one, **numbers})
    write_json(out / 'sheets.json', content)
    source = dict(annotations='sheets.json', images='images')
    described = dict(train=source, val=dict(source), max_dets=read_dataset(data).max_dets * cells)
    (out / 'dataset.yaml').write_text(yaml.safe_dump(described, sort_keys=False))
    left = len(images) - cells * len(chosen)
    return Sheets(out / 'dataset.yaml', len(chosen), len(content['annotations']), left)


def read_split(data: str | Path, split: str) -> tuple[list[ImageLabels], list[dict[str, Any]]]:
    """Return the images of a split with their objects, and the categories of COCO format.

    Raises:
        InputError: If the dataset cannot be read, or has no such split.
    """
    labelled, _ = labelled_set(data)
    if split not in labelled.splits:
        raise InputError(f'{data} has no split {split!r}; it has {", ".join(labelled.splits)}')
    return labelled.splits[split], labelled.categories


def _fill(images: Sequence[ImageLabels], cells: int) -> Iterator[list[ImageLabels]]:
    """Yield as many images of one size as a sheet has cells."""
    sizes: dict[tuple[int, int], list[ImageLabels]] = defaultdict(list)
    for image in images:
        group = sizes[image.width, image.height]
        group.append(image)
        if len(group) == cells:
            yield group.copy()
            group.clear()


def _join(
    images: Sequence[ImageLabels], grid: tuple[int, int]
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Return a sheet, BGR ``(H, W, 3)``, and its objects."""
    width, height = images[0].width, images[0].height
    sheet = np.zeros((grid[1] * height, grid[0] * width, 3), np.uint8)
    objects = []
    for cell, image in enumerate(images):
        row, column = divmod(cell, grid[0])
        left, top = column * width, row * height
        sheet[top : top + height, left : left + width] = read_image(image.file)
        objects += [_moved(one, image, left, top, sheet.shape[:2]) for one in image.objects]
    return sheet, objects


def _moved(
    one: dict[str, Any], image: ImageLabels, left: int, top: int, size: tuple[int, ...]
) -> dict[str, Any]:
    """Return an annotation as it stands on a sheet of ``size``, height and width."""
    x, y, w, h = one['bbox']
    kept = ('category_id', 'area', 'iscrowd')
    moved: dict[str, Any] = {'iscrowd': 0, **{key: one[key] for key in kept if key in one}}
    moved['bbox'] = [x + left, y + top, w, h]
    outline = one.get('segmentation')
    if isinstance(outline, dict):
        mask = decode_segmentation(outline, image.width, image.height)
        moved['segmentation'] = encode_mask(place_crop(mask, left, top, size[1], size[0]))
    elif outline:
        place = np.array((left, top))
        polygons = [np.reshape(polygon, (-1, 2)) + place for polygon in outline]
        moved['segmentation'] = [polygon.ravel().tolist() for polygon in polygons]
    return moved


def _grid(text: str) -> tuple[int, int]:
    columns, rows = (int(number) for number in text.lower().split('x'))
    if min(columns, rows) < 1:
        raise ValueError(text)
    return columns, rows


def main() -> None:
    """Read the command line, and write the sheets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data', required=True, metavar='YAML', help='what --data takes elsewhere')
    parser.add_argument('--split', default='val', choices=('train', 'val', 'test'))
    parser.add_argument('--grid', type=_grid, default=(4, 4), metavar='COLUMNSxROWS')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder to make')
    args = parser.parse_args()
    print(write_sheets(args.data, args.split, args.grid, args.out))


if __name__ == '__main__':
    cli(main)
