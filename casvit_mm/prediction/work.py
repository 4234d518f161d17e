"""What is done with each image, video and stream: predict, draw, and note it in a part."""

from __future__ import annotations

import csv
import io
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.datasets.images import leaves_high_bits_unused
from casvit_mm.deploy.base import PICTURE_SIDE, write_png
from casvit_mm.deploy.model import ImageModel, Prepared, in_batches
from casvit_mm.deploy.tracking import Tracker
from casvit_mm.deploy.video_writing import VideoWriter
from casvit_mm.deploy.videos import VideoReader
from casvit_mm.errors import InputError, plain_name
from casvit_mm.io import json_text
from casvit_mm.prediction.labels import labels_of
from casvit_mm.prediction.options import PredictOptions
from casvit_mm.prediction.outputs import TaskOutput, tracks_of
from casvit_mm.prediction.parts import Part
from casvit_mm.prediction.sources import Source

__all__ = ['Worker']

_DEPTH = 2  # of images and videos in the JSON


class _UnreadableError(InputError):
    """A video that cannot be read any further."""


class Worker:
    """Predicts on sources, and puts what it finds into parts.

    Args:
        model: What predicts.
        options: What to do.
        output: What the task writes.
        say: Shows a message.
    """

    def __init__(
        self,
        model: ImageModel,
        options: PredictOptions,
        output: TaskOutput,
        say: Callable[[str], None],
    ) -> None:
        self._model, self._options, self._output, self._say = model, options, output, say
        self._folder = output.folder

    def do_images(
        self, sources: Sequence[Source], number: int, part: Part, advance: Callable[[], object]
    ) -> None:
        """Predict on images and draw them.

        Args:
            sources: The images.
            number: Images that stand before them, also those of other processes.
            part: Gets what is found; of images before Ctrl-C all.
            advance: Called after each image.
        """
        with self._output.images_after(number):
            prepared = self._read(sources, part, advance)
            for batch in in_batches(prepared, self._options.batch_size):
                for image, result in zip(batch, self._model.predict(batch), strict=True):
                    self._add_image(image.tag, image.pixels, result, part)
                    advance()

    def _read(
        self, sources: Sequence[Source], part: Part, advance: Callable[[], object]
    ) -> Iterator[Prepared]:
        for source in sources:
            try:
                image = self._model.prepare_image(source.read(), tag=source)
            except InputError as error:
                _give_up(part, source, error)
                advance()
            else:
                yield image

    def _add_image(self, source: Source, pixels: Any, result: Any, part: Part) -> None:
        whole = pixels if isinstance(pixels, np.ndarray) else None
        height, width = pixels.shape[:2]
        entry: dict[str, Any] = dict(file=str(source), width=width, height=height)
        if self._options.pictures:
            write_png(self._folder / 'pictures' / source.drawn, result.draw(pixels))
            entry['picture'] = str(Path('pictures', source.drawn))
            if whole is None:
                entry['picture_side'] = PICTURE_SIDE
        file = source.origin if isinstance(source.origin, Path) else None
        dark = file is not None and whole is not None and whole.max() < 64
        if file and dark and leaves_high_bits_unused(file):
            entry['upper_bits_unused'] = True
        if self._options.labels and file:
            part.labels.append((str(file), source.name, labels_of(result)))
        part.unlabelled += file is None
        name = str(Path(source.drawn).with_suffix(''))
        entry.update(self._output.entry(result, pixels, str(source), name))
        part.totals.add_image(entry)
        self._note(entry, entry['file'], part)
        part.images.append(json_text(entry, _DEPTH))

    def _note(self, unit: dict[str, Any], file: str, part: Part) -> None:
        """Note what the summary and the CSV say of an image or a frame."""
        self._output.count(unit, part.totals.counts)
        limit = self._model.max_dets
        part.totals.full += bool(limit) and len(unit.get('objects', ())) == limit
        if self._output.csv_header:
            text = io.StringIO()
            csv.writer(text, lineterminator='\n').writerow(self._output.row(file, unit))
            part.rows += text.getvalue()

    def do_video(
        self, source: Source, part: Part, begin: Callable[[str, int | None], Callable[[], object]]
    ) -> None:
        """Predict on the frames of a video or a stream and draw them into a copy.

        Args:
            source: The video.
            part: Gets what is found.
            begin: Called with a name and the number of frames, if that is known; returns what is
                called after each frame.

        Raises:
            KeyboardInterrupt: After Ctrl-C in a video, once what was seen of it is kept; a stream
                ends by it.
        """
        options = self._options
        try:
            reader = VideoReader(source.origin, options.wait, self._say)
        except InputError as error:
            _give_up(part, source, error)
            return
        promised = min(-(-reader.num_frames // options.every), options.max_frames or sys.maxsize)
        advance = begin(plain_name(source, 40), promised or options.max_frames)
        path = self._folder / 'videos' / source.drawn
        writer: VideoWriter | None = None
        if options.pictures:
            path.parent.mkdir(parents=True, exist_ok=True)
            writer = VideoWriter(path, reader.fps / options.every)
        frames: list[dict[str, Any]] = []
        entry: dict[str, Any] = dict(file=str(source))
        told = stopped = False
        try:
            for image, result in self._followed(reader):
                entry.update(width=image.pixels.shape[1], height=image.pixels.shape[0])
                frame = self._frame(source, image, result)
                if writer:
                    writer.write(result.draw(image.pixels), result.time)
                frames.append(frame)
                advance()
        except _UnreadableError as error:
            _give_up(part, source, error)
            told = True
        except KeyboardInterrupt:
            told, stopped = True, source.kind != 'stream'
        if frames:
            self._add_video(entry, frames, reader, writer, part)
        if not told and len(frames) != options.max_frames and reader.ends_early():
            of = f' of {promised}' if promised else ''
            _give_up(
                part,
                source,
                f'{source} ends after {len(frames)}{of} frames: cut short or damaged. '
                'What could be read is in the results.',
            )
        if stopped:
            raise KeyboardInterrupt

    def _frame(self, source: Source, image: Prepared, result: Any) -> dict[str, Any]:
        name = Path(source.drawn).with_suffix('')
        said = self._output.entry(result, image.pixels, str(source), f'{name}/{result.frame:06d}')
        return dict(frame=result.frame, time=round(result.time, 4), **said)

    def _add_video(
        self,
        entry: dict[str, Any],
        frames: list[dict[str, Any]],
        reader: VideoReader,
        writer: VideoWriter | None,
        part: Part,
    ) -> None:
        if reader.damaged:
            entry['damaged_frames'] = reader.damaged
        if reader.reconnected:
            entry.update(reconnected=reader.reconnected, lost_frames=reader.lost_frames)
        if writer:
            writer.close()
            entry['video'] = str(writer.path.relative_to(self._folder))
        if self._options.track:
            entry['tracks'] = tracks_of(frames)
        entry.update(fps=reader.fps, frames=frames)
        for frame in frames:
            self._note(frame, entry['file'], part)
        part.unlabelled += len(frames)
        part.totals.add_video(entry)
        part.videos.append(json_text(entry, _DEPTH))

    def _followed(self, reader: VideoReader) -> Iterator[tuple[Prepared, Any]]:
        """Yield frames with what was found in them, as objects with a track if that is asked."""
        options = self._options
        follow: Tracker | None = None
        if options.track:
            fps = reader.fps / options.every
            follow = self._model.tracker(options.track, fps, options.track_thr)
        taken = itertools.islice(self._frames(reader), options.max_frames)
        for batch in in_batches(taken, options.batch_size):
            for image, found in zip(batch, self._model.predict(batch), strict=True):
                index, seconds = image.tag
                result: Any = replace(found, frame=index, time=seconds)  # type: ignore[call-arg]
                yield image, follow(result) if follow else result

    def _frames(self, reader: VideoReader) -> Iterator[Prepared]:
        """Yield the frames, ready for the model."""
        try:
            for index, seconds, pixels in reader.frames(self._options.every):
                yield self._model.prepare_image(pixels, tag=(index, seconds))
        except InputError as error:
            raise _UnreadableError(str(error)) from error


def _give_up(part: Part, source: Source, reason: object) -> None:
    part.unreadable.append(dict(file=str(source), reason=str(reason)))
