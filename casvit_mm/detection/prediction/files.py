"""Detections in files, as pictures and JSON: the library behind ``tools/predict.py``."""

from __future__ import annotations

import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from casvit_mm.datasets.images import MediaFile, find_media, leaves_high_bits_unused, read_image
from casvit_mm.deploy.videos import VideoReader, VideoWriter
from casvit_mm.detection.prediction.drawing import draw_detections
from casvit_mm.detection.prediction.predictor import Predictor
from casvit_mm.errors import InputError, plain_name
from casvit_mm.io import write_json
from casvit_mm.plotting.tables import LiteralConsole

__all__ = ['predict']


def predict(
    config: str,
    checkpoint: str,
    inputs: Sequence[str],
    *,
    out_dir: str | None = None,
    score_thr: float = 0.3,
    max_dets: int | None = None,
    device: str | None = None,
    batch_size: int = 1,
    pictures: bool = True,
    every: int = 1,
    max_frames: int | None = None,
    cfg_options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Detect objects in images, folders of images, and videos; write and print what was found.

    A file that cannot be read is listed, and the others are still done.

    Args:
        config: Config file, also the copy in a work dir.
        checkpoint: File of weights of a whole detector.
        inputs: Images, folders (with all below them) and videos.
        out_dir: Folder of results; ``work_dirs/predictions/<config>`` if None.
        score_thr: Minimum score of an object.
        max_dets: Raises the maximum of objects per image, where the config has a lower one.
        device: Such as ``'cpu'`` or ``'cuda:1'``; None takes a GPU where there is one.
        batch_size: Images that go through the model at once.
        pictures: Whether to draw, not only to write JSON.
        every: Take every n-th frame of a video.
        max_frames: Maximum number of frames of a video.
        cfg_options: Config entries to set, by dotted name.

    Returns:
        The content of ``<out_dir>/predictions.json``; docs/predict.md describes it.

    Raises:
        InputError: If anything the user gave cannot work, or a result cannot be written; a
            ``predictions.json`` that was there is left as it was.
    """
    _check_positive(max_dets=max_dets, batch_size=batch_size, every=every, max_frames=max_frames)
    folder = Path(out_dir or f'work_dirs/predictions/{Path(config).stem}')
    media, skipped = find_media(inputs, [folder / 'pictures', folder / 'videos'])
    predictor = Predictor(
        config,
        checkpoint,
        score_thr=score_thr,
        max_dets=max_dets,
        device=device,
        cfg_options=cfg_options,
    )
    run = _Run(predictor, folder, batch_size, pictures)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with run.progress:
            run.predict_images([file for file in media if not file.is_video])
            for file in media:
                if file.is_video:
                    run.predict_video(file, every, max_frames)
        result = run.result(config, checkpoint, skipped)
        write_json(folder / 'predictions.json', result)
    except OSError as error:  # an input that cannot be read raises InputError
        raise _not_written(folder, error) from error
    _print_summary(result, folder, run.seconds(), predictor)
    return result


def _check_positive(**options: int | None) -> None:
    for name, value in options.items():
        if value is not None and value < 1:
            raise InputError(f'--{name.replace("_", "-")} must be at least 1, got {value}')


def _not_written(folder: Path, error: OSError) -> InputError:
    reason = f'{error.filename}: {error.strerror}' if error.filename else str(error)
    return InputError(
        f'results cannot be written to {folder}: {reason}\n'
        'Make room or name another --out-dir. A predictions.json from before is left as it was.'
    )


class _Run:
    """What one call of :func:`predict` has found so far."""

    def __init__(self, predictor: Predictor, folder: Path, batch_size: int, draw: bool) -> None:
        self.images: list[dict[str, Any]] = []
        self.videos: list[dict[str, Any]] = []
        self.unreadable: list[dict[str, str]] = []
        self.progress = Progress(
            TextColumn('{task.description}', markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._predictor = predictor
        self._folder = folder
        self._batch_size = batch_size
        self._draw = draw
        self._taken: set[Path] = set()
        self._start = time.perf_counter()

    def seconds(self) -> float:
        """Return the time since the start."""
        return time.perf_counter() - self._start

    def result(self, config: str, checkpoint: str, skipped_files: int) -> dict[str, Any]:
        """Return the content of ``predictions.json``."""
        return dict(
            config=str(config),
            checkpoint=str(checkpoint),
            score_thr=self._predictor.score_thr,
            classes=list(self._predictor.classes),
            images=self.images,
            videos=self.videos,
            unreadable=self.unreadable,
            skipped_files=skipped_files,
        )

    def predict_images(self, files: list[MediaFile]) -> None:
        """Detect objects in images and draw them."""
        if not files:
            return
        task = self.progress.add_task('images', total=len(files))
        stream = self._predictor.stream(self._read(files, task), self._batch_size)
        for file, image, objects in stream:
            entry = _entry(file, image)
            if self._draw:
                path = self._free_path('pictures', file.name, '.png')
                picture = draw_detections(image, objects, self._predictor.classes)
                path.write_bytes(cv2.imencode('.png', picture)[1].tobytes())
                entry['picture'] = str(path.relative_to(self._folder))
            if image.max() < 64 and leaves_high_bits_unused(file.path):
                entry['upper_bits_unused'] = True
            self.images.append({**entry, 'objects': objects})
            self.progress.advance(task)

    def _read(self, files: list[MediaFile], task: TaskID) -> Iterator[tuple[MediaFile, np.ndarray]]:
        for file in files:
            try:
                image = read_image(file.path)
            except InputError as error:
                self._give_up(file, error)
                self.progress.advance(task)
            else:
                yield file, image

    def predict_video(self, file: MediaFile, every: int, max_frames: int | None) -> None:
        """Detect objects in the frames of a video and draw them into a copy."""
        frames: list[dict[str, Any]] = []
        writer = None
        try:
            reader = VideoReader(file.path)
            promised = min(-(-reader.num_frames // every), max_frames or sys.maxsize)
            task = self.progress.add_task(plain_name(file.path.name), total=promised or None)
            if self._draw:
                writer = VideoWriter(
                    self._free_path('videos', file.name, '.mp4'), reader.fps / every
                )
            tagged = (((index, time), image) for index, time, image in reader.frames(every))
            taken = itertools.islice(tagged, max_frames)
            for (index, seconds), image, objects in self._predictor.stream(taken, self._batch_size):
                entry = _entry(file, image)
                if writer:
                    writer.write(draw_detections(image, objects, self._predictor.classes))
                frames.append(dict(frame=index, time=round(seconds, 4), objects=objects))
                self.progress.advance(task)
        except InputError as error:
            self._give_up(file, error)
            return
        if writer:
            writer.close()
            entry['video'] = str(writer.path.relative_to(self._folder))
        self.videos.append({**entry, 'fps': reader.fps, 'frames': frames})
        # The headers of some containers only estimate the number of frames.
        if len(frames) < 0.95 * promised - 1:
            self._give_up(
                file,
                f'{file.path} ends after {len(frames)} of {promised} frames: cut short or damaged. '
                'What could be read is in the results.',
            )

    def _free_path(self, kind: str, name: str, suffix: str) -> Path:
        """Return a file with ``suffix`` to write for the input ``name``, and for no other one."""
        path = self._folder / kind / name
        if path.suffix.lower() != suffix:
            path = path.with_name(path.name + suffix)
        while path in self._taken:  # a.jpg.png beside a.jpg
            path = path.with_name(path.name + suffix)
        self._taken.add(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _give_up(self, file: MediaFile, reason: object) -> None:
        self.unreadable.append(dict(file=str(file.path), reason=str(reason)))


def _entry(file: MediaFile, image: np.ndarray) -> dict[str, Any]:
    return dict(file=str(file.path), width=image.shape[1], height=image.shape[0])


def _print_summary(
    result: dict[str, Any], folder: Path, seconds: float, predictor: Predictor
) -> None:
    """Print counts per class, speed, where the results are, and what went wrong."""
    frames = [frame for video in result['videos'] for frame in video['frames']]
    found = [[entry['class'] for entry in unit['objects']] for unit in result['images'] + frames]
    objects = Counter(name for names in found for name in names)
    holding = Counter(name for names in found for name in set(names))
    console = LiteralConsole()
    if objects:
        table = Table('class')
        table.add_column('objects', justify='right')
        table.add_column('images or frames with it', justify='right')
        for name in filter(objects.get, predictor.classes):
            table.add_row(plain_name(name), str(objects[name]), str(holding[name]))
        console.print(table)

    counts = [_count(len(result['images']), 'image')] if result['images'] or not frames else []
    if frames:
        counts.append(f'{_count(len(frames), "frame")} of {_count(len(result["videos"]), "video")}')
    lines = [
        f'{_count(objects.total(), "object")} scored {predictor.score_thr:g} or more in '
        f'{" and ".join(counts)}: {seconds:.1f} s, {len(found) / seconds:.1f} img/s on '
        f'{predictor.device}',
        f'results: {folder / "predictions.json"}',
    ]
    for kind, entries in (('picture', result['images']), ('video', result['videos'])):
        if any(kind in entry for entry in entries):
            lines.append(f'{kind}s: {folder / kind}s/')
    full = sum(len(names) == predictor.max_dets for names in found)
    lines += _notes(result, predictor, full)
    console.print('\n'.join(lines), soft_wrap=True)


def _notes(result: dict[str, Any], predictor: Predictor, full: int) -> list[str]:
    """Return what the user should know: ``full`` images reached the limit of objects, and more."""
    lines = [f'note: {predictor.note}'] if predictor.note else []
    if result['skipped_files']:
        lines.append(
            f'note: {_count(result["skipped_files"], "other file")} in the folders skipped'
        )
    if full:
        lines.append(
            f'note: {_count(full, "picture")} reached the {predictor.max_dets} objects that '
            'the model keeps at most. Raise it: --max-dets N'
        )
    dim = [entry['file'] for entry in result['images'] if 'upper_bits_unused' in entry]
    if dim:
        lines.append(
            f'note: {_count(len(dim), "image")} (first {dim[0]}) leave the upper of 16 bits unused '
            'and are read nearly black, as in training. Stretch them to the full range, before '
            'training too.'
        )
    failed = result['unreadable']
    if failed:
        lines.append(f'\nerror: {_count(len(failed), "file")} not read, or not to the end:')
        lines += [f'  {entry["reason"]}' for entry in failed[:5]]
        lines += ['  ... see "unreadable" in predictions.json'] * (len(failed) > 5)
    return lines


def _count(number: int, thing: str) -> str:
    return f'{number} {thing}{"" if number == 1 else "s"}'
