"""Make sets of any size, those of COCO, ImageNet and ADE20K by default, to measure what they cost.

python -m casvit_mm.benchmark.large_sets /tmp/large
casvit-mm check-data --data /tmp/large/coco/dataset.yaml --fast --out /tmp/checked
python -m casvit_mm.benchmark.set_costs /tmp/large
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml

from casvit_mm.cli import cli
from casvit_mm.datasets.writers.registry import check_free
from casvit_mm.errors import InputError

__all__ = ['LargeSets', 'main', 'write_sets']

CLASSES = tuple(f'class {number:02d}' for number in range(80))
_SIZES = ((640, 480), (480, 640), (640, 427), (500, 375))  # width and height, as COCO has them
_LINKS = 30_000  # of one file, of which ext4 allows 65,000
_CHUNK = 20_000  # objects that are drawn at a time
_POINTS = 23.3  # of a polygon, on average: COCO's bytes per object
_FOLDERS = 1000  # of classes, as ImageNet has


@dataclass(frozen=True)
class LargeSets:
    """How much is written.

    Attributes:
        images: Of train in COCO format.
        objects: Of these images, each a polygon.
        val_images: Of val in COCO format, with as many objects each.
        detections: Of each image of val.
        label_files: Of the set in YOLO format, one for each image; val has a twentieth of them.
        sorted_images: Of the set with a folder for each class; val has a twentieth of them.
        masks: Of the set with segmentation masks, one for each image; val has a twentieth of them.
        seed: What all positions are drawn by.
    """

    images: int = 118_000
    objects: int = 860_000
    val_images: int = 5_000
    detections: int = 100
    label_files: int = 100_000
    sorted_images: int = 1_281_167
    masks: int = 20_210
    seed: int = 0


@dataclass(frozen=True)
class _Objects:
    """N objects of one split.

    Attributes:
        image: Number of the image, from 0 on and never falling, ``(N,)``.
        label: Position of the class, ``(N,)``.
        size: Width and height of the image, ``(N, 2)``.
        points: Corners of the outlines one after the other, ``(P, 2)``.
        ends: Where each outline ends in ``points``, ``(N,)``.
    """

    image: np.ndarray
    label: np.ndarray
    size: np.ndarray
    points: np.ndarray
    ends: np.ndarray

    def __iter__(self) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
        """Yield image, class, size of the image and outline, ``(points, 2)``, of each."""
        start = 0
        for image, label, size, end in zip(
            self.image.tolist(), self.label.tolist(), self.size, self.ends.tolist(), strict=True
        ):
            yield image, label, size, self.points[start:end]
            start = end


def write_sets(out: str | Path, sets: LargeSets | None = None) -> Path:
    """Write the sets ``coco``, ``yolo``, ``folders`` and ``masks``, and ``detections.json``.

    The detections are of the val images of ``coco``. Images are links to a few grey JPEG files, so
    that their names and sizes count and their bytes do not, and masks to a few PNG files; where the
    file system has no hard links, they are copies of 4 kB.

    Args:
        out: Folder to make.
        sets: How much of it.

    Returns:
        The folder.

    Raises:
        InputError: If ``out`` exists.
    """
    out, sets = Path(out), sets or LargeSets()
    check_free(out)
    share = sets.objects / max(sets.images, 1)
    counts = {'train': (sets.images, sets.objects)}
    counts['val'] = sets.val_images, round(share * sets.val_images)
    described: dict[str, object] = {}
    for number, (split, (images, objects)) in enumerate(counts.items()):
        folder = out / 'coco' / 'images' / split
        _write_images(folder, images)
        rng = np.random.default_rng((sets.seed, number))
        _write_coco(out / 'coco' / f'{split}.json', _draw(rng, images, objects), images)
        described[split] = dict(annotations=f'{split}.json', images=f'images/{split}')
    (out / 'coco' / 'dataset.yaml').write_text(yaml.safe_dump(described, sort_keys=False))
    rng = np.random.default_rng((sets.seed, 2))
    _write_detections(out / 'detections.json', rng, sets.val_images, sets.detections)

    for number, (split, images) in enumerate(_split(sets.label_files), 3):
        rng = np.random.default_rng((sets.seed, number))
        _write_images(out / 'yolo' / 'images' / split, images)
        drawn = _draw(rng, images, round(share * images))
        _write_yolo(out / 'yolo' / 'labels' / split, drawn, images)
    names = dict(enumerate(CLASSES))
    fields = dict(path='.', train='images/train', val='images/val', names=names)
    (out / 'yolo' / 'data.yaml').write_text(yaml.safe_dump(fields, sort_keys=False))

    _write_folders(out / 'folders', sets.sorted_images)
    _write_masks(out / 'masks', sets.masks)
    return out


def _split(images: int) -> list[tuple[str, int]]:
    of_val = max(1, images // 20)
    return [('train', images - of_val), ('val', of_val)]


def _write_folders(folder: Path, images: int) -> None:
    described = {}
    for split, number in _split(images):
        for label in range(min(_FOLDERS, number)):
            share = number // _FOLDERS + (label < number % _FOLDERS)
            _write_images(folder / split / f'class {label:03d}', share)
        described[split] = dict(images=split)
    (folder / 'dataset.yaml').write_text(yaml.safe_dump(described, sort_keys=False))


def _write_masks(folder: Path, images: int) -> None:
    """Write images and masks, whose classes are stripes."""
    described: dict[str, object] = {}
    for split, number in _split(images):
        _write_images(folder / 'images' / split, number)
        _write_stripes(folder / 'labels' / split, number)
        described[split] = dict(images=f'images/{split}', labels=f'labels/{split}')
    described['classes'] = list(CLASSES)
    (folder / 'dataset.yaml').write_text(yaml.safe_dump(described, sort_keys=False))


def _name(image: int) -> str:
    return f'{image:012d}.jpg'


def _size(image: int) -> tuple[int, int]:
    return _SIZES[image % len(_SIZES)]


def _write_images(folder: Path, number: int) -> None:
    """Write grey images of the sizes in turn."""
    ramps = [_row(width, 255).repeat(height, axis=0) for width, height in _SIZES]
    _write_pictures(folder, number, ramps, '.jpg')


def _write_stripes(folder: Path, number: int) -> None:
    """Write masks of the images' sizes, all classes in each."""
    masks = [_row(width, len(CLASSES) - 1).repeat(height, axis=0) for width, height in _SIZES]
    _write_pictures(folder, number, masks, '.png')


def _row(width: int, last: int) -> np.ndarray:
    """Return the values 0 to ``last`` from left to right, ``(1, width)``."""
    return np.linspace(0, last, width).round().astype(np.uint8)[None]


def _write_pictures(folder: Path, number: int, pictures: list[np.ndarray], suffix: str) -> None:
    """Write the pictures in turn, most of them as links to the first of their kind."""
    folder.mkdir(parents=True)
    of_round = _LINKS * len(pictures)
    for image in range(number):
        path = (folder / _name(image)).with_suffix(suffix)
        first = image // of_round * of_round + image % len(pictures)
        if image == first:
            if not cv2.imwrite(str(path), pictures[image % len(pictures)]):
                raise InputError(f'{path} cannot be written; make room')
            continue
        source = (folder / _name(first)).with_suffix(suffix)
        try:
            os.link(source, path)
        except OSError:
            path.write_bytes(source.read_bytes())


def _draw(rng: np.random.Generator, images: int, objects: int) -> Iterator[_Objects]:
    """Yield objects in the order of their images, of which a few stay without."""
    image = np.sort(rng.integers(0, images, objects))
    for start in range(0, objects, _CHUNK):
        yield _draw_some(rng, image[start : start + _CHUNK])


def _draw_some(rng: np.random.Generator, image: np.ndarray) -> _Objects:
    """Return one object for each number of an image: a star-shaped polygon inside of it."""
    number = len(image)
    size = np.array(_SIZES, dtype=np.float64)[image % len(_SIZES)]
    label = np.minimum(rng.geometric(0.06, number) - 1, len(CLASSES) - 1)  # a few are frequent
    radius = np.exp(rng.uniform(np.log(6), np.log(150), number))
    centre = rng.uniform(0, 1, (number, 2)) * size
    lengths = np.clip(rng.poisson(_POINTS, number), 4, None)
    ends = np.cumsum(lengths)
    owner = np.repeat(np.arange(number), lengths)
    place = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    angle = 2 * np.pi * (place + rng.uniform(0, 0.9, len(place))) / lengths[owner]
    reach = (radius[owner] * rng.uniform(0.7, 1, len(place)))[:, None]
    points = centre[owner] + reach * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    # The margin keeps an area in what an edge cuts.
    points = np.clip(points, 0, size[owner]) * 0.98 + 0.01 * centre[owner]
    return _Objects(image, label, size, points.round(2), ends)


def _area(outline: np.ndarray) -> float:
    x, y = outline.T
    return round(abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2, 4)


def _write_coco(path: Path, parts: Iterator[_Objects], images: int) -> None:
    """Write the annotations one by one, without blanks, as COCO's own files have none."""
    encode = json.JSONEncoder(separators=(',', ':')).encode
    with path.open('w') as file:
        categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)]
        file.write(f'{{"categories":{encode(categories)},"images":[')
        for image in range(images):
            width, height = _size(image)
            entry = dict(id=image + 1, file_name=_name(image), width=width, height=height)
            file.write(f'{"," if image else ""}\n{encode(entry)}')
        file.write('],"annotations":[')
        number = 0
        for part in parts:
            for image, label, _, outline in part:
                low, high = outline.min(axis=0), outline.max(axis=0)
                number += 1
                entry = dict(
                    segmentation=[outline.ravel().tolist()],
                    area=_area(outline),
                    iscrowd=0,
                    image_id=image + 1,
                    bbox=np.concatenate([low, high - low]).round(2).tolist(),
                    category_id=label + 1,
                    id=number,
                )
                file.write(f'{"," if number > 1 else ""}\n{encode(entry)}')
        file.write(']}\n')


def _write_detections(path: Path, rng: np.random.Generator, images: int, each: int) -> None:
    """Write boxes that a detector might have found, as COCO results."""
    encode = json.JSONEncoder(separators=(',', ':')).encode
    number = images * each
    image = np.repeat(np.arange(images), each)
    part = _draw_some(rng, image) if number else None
    scores = rng.beta(0.5, 2, number).round(4).tolist()
    with path.open('w') as file:
        for row, (at, label, _, outline) in enumerate(part or ()):
            low, high = outline.min(axis=0), outline.max(axis=0)
            box = np.concatenate([low, high - low]).round(2).tolist()
            entry = dict(image_id=at + 1, category_id=label + 1, bbox=box, score=scores[row])
            file.write(f'{"," if row else "["}\n{encode(entry)}')
        file.write(']\n' if number else '[]\n')


def _write_yolo(folder: Path, parts: Iterator[_Objects], images: int) -> None:
    """Write a text file for each image, with the outlines as shares of its sides."""
    folder.mkdir(parents=True)
    lines: dict[int, list[str]] = {}
    for part in parts:
        for image, label, size, outline in part:
            shares = ' '.join(f'{share:.6g}' for share in (outline / size).ravel().tolist())
            lines.setdefault(image, []).append(f'{label} {shares}\n')
    for image in range(images):
        (folder / _name(image)).with_suffix('.txt').write_text(''.join(lines.get(image, ())))


def main() -> None:
    """Read the command line, and write the sets."""
    default = LargeSets()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('out', metavar='DIR', help='folder to make')
    for name, number in vars(default).items():
        option = f'--{name.replace("_", "-")}'
        parser.add_argument(option, type=int, default=number, metavar='N', help=f'default {number}')
    args = vars(parser.parse_args())
    print(write_sets(args.pop('out'), LargeSets(**args)))


if __name__ == '__main__':
    cli(main)
