"""Predictions on files, as pictures and JSON: the library behind ``tools/predict.py``."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from casvit_mm.datasets.images import leaves_high_bits_unused
from casvit_mm.deploy.base import PICTURE_SIDE, write_png
from casvit_mm.deploy.model import ImageModel, Prepared, in_batches
from casvit_mm.deploy.tracking import Tracker, check_tracker
from casvit_mm.deploy.video_writing import VideoWriter, drawn_suffix
from casvit_mm.deploy.videos import WAIT, VideoReader
from casvit_mm.errors import InputError, plain_name
from casvit_mm.io import write_json
from casvit_mm.plotting.tables import LiteralConsole
from casvit_mm.prediction.labels import LabelFiles
from casvit_mm.prediction.loading import load
from casvit_mm.prediction.outputs import output_of, tracks_of
from casvit_mm.prediction.sources import Source, find_sources
from casvit_mm.prediction.summary import print_summary

__all__ = ['predict']


def predict(
    model: str,
    sources: Sequence[str],
    *,
    config: str | None = None,
    out_dir: str | None = None,
    score_thr: float | None = None,
    max_dets: int | None = None,
    device: str | None = None,
    batch_size: int = 1,
    pictures: bool = True,
    every: int = 1,
    max_frames: int | None = None,
    track: str | None = None,
    track_thr: float | None = None,
    tile: int | None = None,
    overlap: float | None = None,
    wait: float = WAIT,
    labels: str | None = None,
    cfg_options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Predict on images, videos and streams; write and print what was found.

    A file that cannot be read is listed, and the others are still done. Ctrl-C ends a stream, and
    otherwise the command; what was done until then is written, JSON and videos alike.

    Args:
        model: A checkpoint or an exported file, as :func:`casvit_mm.load` takes it.
        sources: As :func:`casvit_mm.prediction.sources.find_sources` takes them.
        config: Config of a checkpoint; None takes the one that it holds.
        out_dir: Folder of results; ``work_dirs/predictions/<config or model>`` if None.
        score_thr: Minimum score of an object; 0.3 if None.
        max_dets: Raises the maximum of objects per image, where the config has a lower one.
        device: Such as ``'cpu'`` or ``'cuda:1'``; None takes a GPU where there is one.
        batch_size: Images that go through the model at once.
        pictures: Whether to draw, not only to write data.
        every: Take every n-th frame of a video.
        max_frames: Maximum number of frames of a video.
        track: ``'bytetrack'`` or ``'ocsort'`` follows the objects of a detector through videos.
        track_thr: Minimum score of an object that starts a track; None takes ``score_thr``.
        tile: Side in pixels of the tiles by which larger images are read; None reads them whole.
        overlap: Share of a tile that neighbours have in common; 0.2 if None.
        wait: Seconds that a stream is waited for that stalls or drops the connection.
        labels: Format of a labelling tool, which takes the predictions on image files back from the
            folder of that name in ``out_dir``; None writes none.
        cfg_options: Config entries to set, by dotted name.

    Returns:
        The content of ``<out_dir>/predictions.json``; docs/reference/predictions.md describes it.

    Raises:
        InputError: If anything the user gave cannot work, or a result cannot be written; a
            ``predictions.json`` that was there is left as it was.
    """
    _check_positive(max_dets=max_dets, batch_size=batch_size, every=every, max_frames=max_frames)
    if not wait > 0:
        raise InputError(f'--wait must be more than 0 seconds, got {wait:g}')
    folder = Path(out_dir or f'work_dirs/predictions/{Path(config or model).stem}')
    names = ('pictures', 'videos', 'labels', 'sheets', *([labels] if labels else []))
    results = [folder / name for name in names]
    found, skipped = find_sources(sources, results)
    if track:
        _check_tracking(track, found)
    elif track_thr is not None:
        raise InputError('--track-thr is for --track, which is not given')
    loaded = load(
        model,
        config,
        score_thr=score_thr,
        max_dets=max_dets,
        device=device,
        cfg_options=cfg_options,
        tile=tile,
        overlap=overlap,
        tiles_at_once=batch_size,
    )
    if track:
        loaded.tracker(
            track, 30, track_thr
        )  # refuses a model that is no detector before anything is done
    run = _Run(loaded, folder, batch_size, pictures, track, track_thr)
    if labels:
        run.labels = LabelFiles(loaded.task, loaded.classes, labels, folder / labels)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with run.progress:
            run.predict_all(found, every, max_frames, wait)
        result = run.result(model, config, skipped)
        lines = run.output.finish()
        write_json(folder / 'predictions.json', result)
        lines += run.labels.finish() if run.labels else []
    except OSError as error:  # an input that cannot be read raises InputError
        raise _not_written(folder, error) from error
    print_summary(result, folder, run.seconds(), run.output, lines)
    return result


def _check_positive(**options: int | None) -> None:
    for name, value in options.items():
        if value is not None and value < 1:
            raise InputError(f'--{name.replace("_", "-")} must be at least 1, got {value}')


def _check_tracking(track: str, sources: Sequence[Source]) -> None:
    check_tracker(track)
    if all(source.kind == 'image' for source in sources):
        raise InputError('--track follows objects through videos, and none is among the sources')


def _not_written(folder: Path, error: OSError) -> InputError:
    reason = f'{error.filename}: {error.strerror}' if error.filename else str(error)
    return InputError(
        f'results cannot be written to {folder}: {reason}\n'
        'Make room or name another --out-dir. A predictions.json from before is left as it was.'
    )


class _UnreadableError(InputError):
    """A video that cannot be read any further."""


class _Speed(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        return Text('' if task.speed is None else f'{task.speed:.1f} img/s')


class _Run:
    """What one call of :func:`predict` has found so far."""

    def __init__(
        self,
        model: ImageModel,
        folder: Path,
        batch_size: int,
        draw: bool,
        track: str | None,
        track_thr: float | None,
    ) -> None:
        self.images: list[dict[str, Any]] = []
        self.videos: list[dict[str, Any]] = []
        self.unreadable: list[dict[str, str]] = []
        self.interrupted = False
        console = LiteralConsole()
        self.progress = Progress(
            TextColumn('{task.description}', markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.output = output_of(model, folder, draw)
        self.labels: LabelFiles | None = None
        self._model = model
        self._folder = folder
        self._batch_size = batch_size
        self._draw = draw
        self._track, self._track_thr = track, track_thr
        self._taken: set[Path] = set()
        self._start = time.perf_counter()

    def seconds(self) -> float:
        """Return the time since the start."""
        return time.perf_counter() - self._start

    def result(self, model: str, config: str | None, skipped_files: int) -> dict[str, Any]:
        """Return the content of ``predictions.json``."""
        return dict(
            task=self._model.task,
            config=config and str(config),
            checkpoint=str(model),
            score_thr=self._model.score_thr,
            track=self._track,
            classes=list(self._model.classes),
            images=self.images,
            videos=self.videos,
            unreadable=self.unreadable,
            skipped_files=skipped_files,
            interrupted=self.interrupted,
        )

    def predict_all(
        self, sources: list[Source], every: int, max_frames: int | None, wait: float
    ) -> None:
        """Predict on all sources, or on those before Ctrl-C."""
        try:
            self.predict_images([source for source in sources if source.kind == 'image'])
            for source in sources:
                if source.kind != 'image':
                    self.predict_video(source, every, max_frames, wait)
        except KeyboardInterrupt:
            self.interrupted = True

    def predict_images(self, sources: list[Source]) -> None:
        """Predict on images and draw them."""
        if not sources:
            return
        task = self.progress.add_task('images', total=len(sources))
        for batch in in_batches(self._read(sources, task), self._batch_size):
            for image, result in zip(batch, self._model.predict(batch), strict=True):
                self._add_image(image.tag, image.pixels, result)
                self.progress.advance(task)

    def _read(self, sources: list[Source], task: TaskID) -> Iterator[Prepared]:
        for source in sources:
            try:
                image = self._model.prepare_image(source.read(), tag=source)
            except InputError as error:
                self._give_up(source, error)
                self.progress.advance(task)
            else:
                yield image

    def _add_image(self, source: Source, pixels: Any, result: Any) -> None:
        whole = pixels if isinstance(pixels, np.ndarray) else None
        height, width = pixels.shape[:2]
        entry: dict[str, Any] = dict(file=str(source), width=width, height=height)
        path = self._free_path('pictures', source.name, '.png')
        if self._draw:
            write_png(path, result.draw(pixels))
            entry['picture'] = str(path.relative_to(self._folder))
            if whole is None:
                entry['picture_side'] = PICTURE_SIDE
        dark = isinstance(source.origin, Path) and whole is not None and whole.max() < 64
        if dark and leaves_high_bits_unused(source.origin):  # type: ignore[arg-type]
            entry['upper_bits_unused'] = True
        if self.labels:
            file = source.origin if isinstance(source.origin, Path) else None
            self.labels.add(file, source.name, result)
        name = str(path.relative_to(self._folder / 'pictures').with_suffix(''))
        self.images.append({**entry, **self.output.entry(result, pixels, str(source), name)})

    def predict_video(
        self, source: Source, every: int, max_frames: int | None, wait: float
    ) -> None:
        """Predict on the frames of a video or a stream and draw them into a copy.

        Raises:
            KeyboardInterrupt: After Ctrl-C in a video, once what was seen of it is kept; a stream
                ends by it.
        """
        try:
            reader = VideoReader(source.origin, wait, self._say)
        except InputError as error:
            self._give_up(source, error)
            return
        promised = min(-(-reader.num_frames // every), max_frames or sys.maxsize)
        task = self.progress.add_task(plain_name(source, 40), total=promised or max_frames)
        path = self._free_path('videos', source.name, drawn_suffix())
        writer = VideoWriter(path, reader.fps / every) if self._draw else None
        name = path.relative_to(self._folder / 'videos').with_suffix('')
        follow = self._new_tracker(reader.fps / every)
        frames: list[dict[str, Any]] = []
        entry: dict[str, Any] = dict(file=str(source))
        told = stopped = False
        try:
            taken = itertools.islice(self._frames(reader, every), max_frames)
            for image, found in self._predicted(taken):
                result: Any = follow(found) if follow else found
                entry.update(width=image.pixels.shape[1], height=image.pixels.shape[0])
                place = f'{name}/{result.frame:06d}'
                said = self.output.entry(result, image.pixels, str(source), place)
                if self.labels:
                    self.labels.add(None, place, result)
                if writer:
                    writer.write(result.draw(image.pixels), result.time)
                frames.append(dict(frame=result.frame, time=round(result.time, 4), **said))
                self.progress.advance(task)
        except _UnreadableError as error:
            self._give_up(source, error)
            told = True
        except KeyboardInterrupt:
            told, stopped = True, source.kind != 'stream'
        if frames:
            self._add_video(entry, frames, reader, writer)
        if not told and len(frames) != max_frames and reader.ends_early():
            of = f' of {promised}' if promised else ''
            self._give_up(
                source,
                f'{source} ends after {len(frames)}{of} frames: cut short or damaged. '
                'What could be read is in the results.',
            )
        if stopped:
            raise KeyboardInterrupt

    def _new_tracker(self, fps: float) -> Tracker | None:
        return self._model.tracker(self._track, fps, self._track_thr) if self._track else None

    def _say(self, text: str) -> None:
        self.progress.console.print(text, soft_wrap=True)

    def _add_video(
        self,
        entry: dict[str, Any],
        frames: list[dict[str, Any]],
        reader: VideoReader,
        writer: VideoWriter | None,
    ) -> None:
        if reader.damaged:
            entry['damaged_frames'] = reader.damaged
        if reader.reconnected:
            entry.update(reconnected=reader.reconnected, lost_frames=reader.lost_frames)
        if writer:
            writer.close()
            entry['video'] = str(writer.path.relative_to(self._folder))
        if self._track:
            entry['tracks'] = tracks_of(frames)
        self.videos.append({**entry, 'fps': reader.fps, 'frames': frames})

    def _frames(self, reader: VideoReader, every: int) -> Iterator[Prepared]:
        """Yield the frames, ready for the model."""
        try:
            for index, seconds, pixels in reader.frames(every):
                yield self._model.prepare_image(pixels, tag=(index, seconds))
        except InputError as error:
            raise _UnreadableError(str(error)) from error

    def _predicted(self, frames: Iterator[Prepared]) -> Iterator[tuple[Prepared, Any]]:
        for batch in in_batches(frames, self._batch_size):
            for image, result in zip(batch, self._model.predict(batch), strict=True):
                index, seconds = image.tag
                yield image, replace(result, frame=index, time=seconds)

    def _free_path(self, kind: str, name: str, suffix: str) -> Path:
        """Return a file with ``suffix`` to write for the input ``name``, and for no other one."""
        path = self._folder / kind / name
        if path.suffix.lower() != suffix:
            path = path.with_name(path.name + suffix)
        while path in self._taken:  # a.jpg.png beside a.jpg
            path = path.with_name(path.name + suffix)
        self._taken.add(path)
        if self._draw:
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _give_up(self, source: Source, reason: object) -> None:
        self.unreadable.append(dict(file=str(source), reason=str(reason)))
