"""Let objects of a detection dataset move through a clip, and score who follows them.

python -m casvit_mm.benchmark.moving_objects clip --data dataset.yaml --split test --out clip
casvit-mm predict CKPT clip/clip.webm --track --out-dir found
python -m casvit_mm.benchmark.moving_objects score clip found/predictions.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from casvit_mm.benchmark.host import facts
from casvit_mm.benchmark.sheets import read_split
from casvit_mm.cli import cli
from casvit_mm.datasets.formats.outlines import decode_segmentation
from casvit_mm.datasets.writers.base import ImageLabels
from casvit_mm.datasets.writers.registry import check_free
from casvit_mm.deploy.base import optional
from casvit_mm.deploy.images import read_image
from casvit_mm.deploy.video_writing import VideoWriter, drawn_suffix
from casvit_mm.errors import InputError
from casvit_mm.io import write_json

__all__ = ['Score', 'main', 'score_tracks', 'write_clip']

_FPS = 25
_LARGEST = 0.5  # side of an object that is taken, as share of the side of the clip
_SPEED = 0.0035  # deviation of the speed, in sides of the clip a frame
_NOISE = 2.0  # deviation of the noise of a pixel, of 255
_SEEN = 0.25  # share of an object to be seen, below which the truth of a frame leaves it out


@dataclass(frozen=True)
class Score:
    """How well objects were followed; metrics as the evaluator of ``trackers`` defines them.

    Attributes:
        hota: Higher order tracking accuracy (https://arxiv.org/abs/2009.07736).
        idf1: F1 of the identities (https://arxiv.org/abs/1609.01775), at an IoU of 0.5.
        mota: Multiple object tracking accuracy, likewise.
        switches: How often a true object got another number.
        counted: Tracks by class.
        true: Objects by class.
    """

    hota: float
    idf1: float
    mota: float
    switches: int
    counted: dict[str, int]
    true: dict[str, int]

    def __str__(self) -> str:
        names = sorted({*self.counted, *self.true})
        counts = [f'{n} {self.counted.get(n, 0)} of {self.true.get(n, 0)}' for n in names]
        return (
            f'HOTA {self.hota:.3f}, IDF1 {self.idf1:.3f}, MOTA {self.mota:.3f}, '
            f'{self.switches} switches\ntracks, of true objects: {", ".join(counts)}'
        )


@dataclass
class _Body:
    """An object of the clip: BGR and opacity, (h, w, 3) and (h, w, 1); left top corner; speed."""

    name: str
    pixels: np.ndarray
    opacity: np.ndarray
    place: np.ndarray
    speed: np.ndarray

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, width and height in pixels."""
        x, y = self.place.round().astype(int).tolist()
        return x, y, self.pixels.shape[1], self.pixels.shape[0]

    def move(self, room: np.ndarray) -> None:
        """Go on by one frame, and turn at the edges."""
        room = room - self.pixels.shape[1::-1]
        self.place += self.speed
        self.speed[(self.place < 0) | (self.place > room)] *= -1
        self.place = self.place.clip(0, room)


def write_clip(
    data: str | Path,
    split: str,
    out: str | Path,
    objects: int = 12,
    frames: int = 120,
    seed: int = 0,
) -> Path:
    """Write a clip of 640 x 480 pixels and 25 frames a second, and its true tracks.

    Objects that stand alone in their image are drawn at random, cut out along their mask, or as an
    ellipse in their box, and drift over a plain ground, in front of each other, at constant speed.

    Args:
        data: What ``--data`` takes.
        split: Where objects come from; one that the detector has not learnt from.
        out: Folder to make: the clip, ``tracks.txt`` in the format of MOT Challenge, where an
            object is left out of a frame in which less than a quarter of it is to be seen, and
            ``clip.json`` with the class of each track.
        objects: How many.
        frames: Length of the clip.
        seed: The same seed gives the same tracks.

    Returns:
        The clip.

    Raises:
        InputError: If the dataset cannot be read, too few objects stand alone, or ``out`` exists.
    """
    out = Path(out)
    check_free(out)
    size = np.array((640, 480))
    rng = np.random.default_rng(seed)
    images, categories = read_split(data, split)
    names = {category['id']: category['name'] for category in categories}
    alone = [(im, one) for im in images for one in _standing_alone(im, size * _LARGEST)]
    if len(alone) < objects:
        raise InputError(
            f'{data}: {len(alone)} objects of {split} stand alone in their image and are not '
            f'larger than half a clip of 640 x 480; take at most as many --objects, not {objects}'
        )
    chosen = [alone[i] for i in rng.choice(len(alone), objects, replace=False)]
    bodies = [_cut_out(image, one, names[one['category_id']], size, rng) for image, one in chosen]
    ground = np.median([_ground_of(image) for image, _ in chosen], axis=0)
    out.mkdir(parents=True)
    writer = VideoWriter(out / f'clip{drawn_suffix()}', _FPS)
    lines = []
    for frame in range(1, frames + 1):
        picture, shown = _draw(bodies, ground, size)
        picture += rng.normal(0, _NOISE, picture.shape)
        writer.write(picture.clip(0, 255).round().astype(np.uint8))
        for track, (body, share) in enumerate(zip(bodies, shown, strict=True), 1):
            if share >= _SEEN:
                lines.append(_mot_line(frame, track, body.box))
            body.move(size)
    writer.close()
    (out / 'tracks.txt').write_text(''.join(lines))
    classes = {str(track): body.name for track, body in enumerate(bodies, 1)}
    about = dict(data=str(data), split=split, seed=seed, frames=frames, classes=classes)
    write_json(out / 'clip.json', about)
    return writer.path


def _standing_alone(image: ImageLabels, largest: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yield the objects that touch neither another one nor the edge, and are not too large."""
    boxes = np.array([one['bbox'] for one in image.objects], float).reshape(-1, 4)
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    meets = ((low[:, None] < high) & (low < high[:, None])).all(2).sum(1) > 1
    inside = (low > 1).all(1) & (high < (image.width - 1, image.height - 1)).all(1)
    fits = ((boxes[:, 2:] <= largest) & (boxes[:, 2:] >= 2)).all(1)
    for position in np.flatnonzero(inside & fits & ~meets):
        if not image.objects[position].get('iscrowd'):
            yield image.objects[position]


def _cut_out(
    image: ImageLabels, one: dict[str, Any], name: str, size: np.ndarray, rng: np.random.Generator
) -> _Body:
    x, y, w, h = (round(number) for number in one['bbox'])
    if one.get('segmentation'):
        whole = decode_segmentation(one['segmentation'], image.width, image.height)
        opacity = cv2.GaussianBlur(whole[y : y + h, x : x + w].astype(float), (3, 3), 0)
    else:
        across, down = (np.linspace(-1, 1, side) for side in (w, h))
        opacity = ((1 - np.hypot(across, down[:, None])) / 0.1).clip(0, 1)
    pixels = read_image(image.file)[y : y + h, x : x + w].astype(float)
    place, speed = rng.uniform(0, size - (w, h)), rng.normal(0, _SPEED, 2) * size
    return _Body(name, pixels, opacity[..., None], place, speed)


def _ground_of(image: ImageLabels) -> np.ndarray:
    """Return the median colour, BGR ``(3,)``, of what lies in no box."""
    outside = np.ones((image.height, image.width), bool)
    for one in image.objects:
        x, y, w, h = (max(0, round(number)) for number in one['bbox'])
        outside[y : y + h, x : x + w] = False
    return np.median(read_image(image.file)[outside], axis=0)


def _draw(
    bodies: Sequence[_Body], ground: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, list[float]]:
    """Return a frame, BGR floats ``(H, W, 3)``, and which share of each object is to be seen."""
    picture = np.tile(ground, (size[1], size[0], 1)).astype(float)
    on_top = np.full((size[1], size[0]), -1)
    for number, body in enumerate(bodies):
        x, y, w, h = body.box
        part = picture[y : y + h, x : x + w]
        part += (body.pixels - part) * body.opacity
        on_top[y : y + h, x : x + w][body.opacity[..., 0] > 0.5] = number
    seen = np.bincount(on_top[on_top >= 0], minlength=len(bodies))
    return picture, [n / (body.opacity > 0.5).sum() for n, body in zip(seen, bodies, strict=True)]


def _mot_line(frame: int, track: int, box: Sequence[float]) -> str:
    # Score, class and visibility as the evaluator wants them of what counts.
    return ','.join(f'{value:g}' for value in (frame, track, *box, 1, 1, 1)) + '\n'


def score_tracks(clip: str | Path, predictions: str | Path) -> Score:
    """Compare the tracks that a detector and a tracker have found in a clip with the true ones.

    Args:
        clip: Folder that :func:`write_clip` has made.
        predictions: ``predictions.json`` of ``casvit-mm predict --track`` on its clip alone.

    Raises:
        InputError: If either cannot be read, is something else, or no object has a number;
            or if ``trackers`` is not installed.
    """
    optional('trackers', 'the score of tracks')
    truth = Path(clip) / 'tracks.txt'
    try:
        classes = json.loads((Path(clip) / 'clip.json').read_text())['classes']
        (video,) = json.loads(Path(predictions).read_text())['videos']
        frames, tracks = video['frames'], video['tracks']
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'{clip} and {predictions} must be a clip of moving_objects and what predict --track '
            f'has found in it alone: {error!r}'
        ) from error
    found = ''.join(
        _mot_line(frame['frame'] + 1, one['track'], one['bbox'])
        for frame in frames
        for one in frame['objects']
        if one.get('track')
    )
    if not found:
        raise InputError(f'{predictions}: no object has a track; a lower --track-thr starts more')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'found.txt')
        path.write_text(found)
        result: Any = import_module('trackers.eval').evaluate_mot_sequence(
            truth, path, ['CLEAR', 'HOTA', 'Identity']
        )
    return Score(
        float(result.HOTA.HOTA),
        float(result.Identity.IDF1),
        float(result.CLEAR.MOTA),
        int(result.CLEAR.IDSW),
        dict(sorted(Counter(track['class'] for track in tracks).items())),
        dict(sorted(Counter(classes.values()).items())),
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps = parser.add_subparsers(dest='step', required=True)
    clip = steps.add_parser('clip', help='write a clip and its true tracks')
    clip.add_argument('--data', required=True, metavar='YAML', help='what --data takes elsewhere')
    clip.add_argument('--split', default='test', choices=('train', 'val', 'test'))
    clip.add_argument('--objects', type=int, default=12, metavar='N')
    clip.add_argument('--frames', type=int, default=120, metavar='N')
    clip.add_argument('--seed', type=int, default=0)
    clip.add_argument('--out', required=True, metavar='DIR', help='folder to make')
    score = steps.add_parser('score', help='compare predictions with the true tracks')
    score.add_argument('clip', help='folder that the step clip has made')
    score.add_argument('predictions', help='predictions.json of predict --track')
    score.add_argument('--out', metavar='JSON', help='figures with machine and commit')
    return parser.parse_args()


def main() -> None:
    """Read the command line; write a clip, or print and write the figures."""
    args = _parse()
    if args.step == 'clip':
        print(write_clip(args.data, args.split, args.out, args.objects, args.frames, args.seed))
        return
    found = score_tracks(args.clip, args.predictions)
    print(found)
    if args.out:
        write_json(args.out, dict(host=facts('cpu', 1), **asdict(found)))


if __name__ == '__main__':
    cli(main)
