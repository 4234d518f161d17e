"""Predictions on files, as pictures and JSON: the library behind ``casvit-mm predict``.

The sources are done in parts, which stay on the disk until all are done and are merged by one
process: so a run that was killed goes on, several processes share the work, and none holds all
results.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casvit_mm.console import StatusLine, say, step
from casvit_mm.deploy.model import ImageModel
from casvit_mm.deploy.tracking import check_tracker
from casvit_mm.distributed.folder_lock import unlock
from casvit_mm.errors import InputError
from casvit_mm.prediction.identity import settings_of
from casvit_mm.prediction.labels import LabelFiles
from casvit_mm.prediction.loading import load
from casvit_mm.prediction.merging import merge
from casvit_mm.prediction.options import PredictOptions
from casvit_mm.prediction.outputs import output_of
from casvit_mm.prediction.parts import Part, Plan
from casvit_mm.prediction.ranks import Ranks
from casvit_mm.prediction.source_list import SourceList
from casvit_mm.prediction.sources import find_sources
from casvit_mm.prediction.summary import Run, print_summary
from casvit_mm.prediction.unfinished import Unfinished
from casvit_mm.prediction.work import Worker

__all__ = ['Predicted', 'predict']


@dataclass(frozen=True)
class Predicted:
    """Where the results of :func:`predict` are.

    Attributes:
        path: ``predictions.json``.
        interrupted: Whether Ctrl-C has ended it.
        unreadable: Number of files that could not be read.
    """

    path: Path
    interrupted: bool
    unreadable: int

    def read(self) -> dict[str, Any]:
        """Return ``predictions.json``, as docs/reference/predictions.md describes it."""
        return json.loads(self.path.read_text())


def predict(model: str, sources: Sequence[str], options: PredictOptions | None = None) -> Predicted:
    """Predict on images, videos and streams; write and print what was found.

    A file that cannot be read is listed, and the others are still done. Ctrl-C ends a stream, and
    otherwise the command; what one process has done until then is written, JSON and videos alike.
    The same call goes on from there, also after a process was killed.

    Args:
        model: A checkpoint or an exported file, as :func:`casvit_mm.load` takes it.
        sources: As :func:`casvit_mm.prediction.sources.find_sources` takes them.
        options: What else is asked for.

    Raises:
        InputError: If anything the user gave cannot work, or a result cannot be written; a
            ``predictions.json`` that was there is left as it was.
    """
    options = options or PredictOptions()
    ranks = Ranks(options.launcher)
    folder = options.folder(model)
    found, skipped = ranks.on_first(lambda: _find(sources, options, folder, ranks.size))
    loaded = _load(model, options, ranks)
    settings = settings_of(loaded, model, sources, options)
    try:
        prediction = _Prediction(loaded, Plan(found, options.batch_size), options, ranks, folder)
        prediction.begin(settings)
        prediction.work()
        return ranks.on_first(lambda: prediction.finish(model, skipped))
    except OSError as error:  # an input that cannot be read raises InputError
        raise _not_written(folder, error) from error
    finally:
        unlock()


def _find(
    given: Sequence[str], options: PredictOptions, folder: Path, processes: int
) -> tuple[SourceList, int]:
    """Return the sources, and the number of files in their folders that are none.

    Raises:
        InputError: If there are none, or they do not fit the options.
    """
    names = [
        'pictures',
        'videos',
        'labels',
        'sheets',
        *([options.labels] if options.labels else []),
    ]
    found, skipped = find_sources(given, [folder / name for name in names])
    sources = SourceList.gather(found)
    others = [sources[i] for i in range(sources.num_images, len(sources))]
    if options.track:
        check_tracker(options.track)
        if not others:
            raise InputError(
                '--track follows objects through videos, and none is among the sources'
            )
    streams = [source for source in others if source.kind == 'stream']
    if streams and processes > 1:
        raise InputError(f'{streams[0]} is a stream, which is for one process; leave it out')
    return sources, skipped


def _load(model: str, options: PredictOptions, ranks: Ranks) -> ImageModel:
    with step(f'loading {model}'):
        loaded = load(
            model,
            options.config,
            score_thr=options.score_thr,
            max_dets=options.max_dets,
            device=ranks.device(options.device),
            cfg_options=options.cfg_options,
            tile=options.tile,
            overlap=options.overlap,
            tiles_at_once=options.batch_size,
        )
    if options.track:  # refuses a model that is no detector before anything is done
        loaded.tracker(options.track, 30, options.track_thr)
    return loaded


def _not_written(folder: Path, error: OSError) -> InputError:
    reason = f'{error.filename}: {error.strerror}' if error.filename else str(error)
    return InputError(
        f'results cannot be written to {folder}: {reason}\n'
        'Make room or name another --out-dir. A predictions.json from before is left as it was.'
    )


class _Prediction:
    """One call of :func:`predict`: the share of this process, and on rank 0 the whole."""

    def __init__(
        self, model: ImageModel, plan: Plan, options: PredictOptions, ranks: Ranks, folder: Path
    ) -> None:
        self._model, self._plan, self._options, self._ranks = model, plan, options, ranks
        self._folder = folder
        self._unfinished = Unfinished(folder)
        self._output = output_of(model, folder, options.pictures)
        self._labels: LabelFiles | None = None
        self._line = StatusLine('reading the first image')
        self._partial: tuple[int, Part] | None = None  # what Ctrl-C has cut short
        self._start = time.perf_counter()
        self._units = 0  # images and frames that this call has done, in all processes

    def begin(self, settings: dict[str, Any]) -> None:
        """Take the folder, before anything is done.

        Raises:
            InputError: If it cannot be taken, or the processes do not share it.
            OSError: If it cannot be written.
        """
        first = self._ranks.on_first(lambda: self._claim(settings))
        self._unfinished.check_shared(first, settings)

    def _claim(self, settings: dict[str, Any]) -> dict[str, Any]:
        options = self._options
        if options.labels:
            out = self._folder / options.labels
            self._labels = LabelFiles(self._model.task, self._model.classes, options.labels, out)
        note = self._unfinished.begin(settings)
        if note:
            say(note)
        return settings

    def work(self) -> None:
        """Do the share of this process, or what is before Ctrl-C of one alone; wait for the others.

        Raises:
            InputError: If a result cannot be written.
            KeyboardInterrupt: After Ctrl-C, of several processes.
        """
        ranks, plan = self._ranks, self._plan
        mine = range(ranks.rank, len(plan), ranks.size)
        found = ranks.gather(self._unfinished.find(plan, mine))
        done = {number for each in found for number in each}
        if done and ranks.rank == 0:
            images = sum(stop - start for start, stop in map(plan.bounds, done))
            of = f'{images:,} of {len(plan.sources):,} images and videos'
            say(f'{of} are done, by a run before; going on with the others')
        left = [number for number in range(len(plan)) if number not in done]
        with self._line:
            try:
                self._do(left[ranks.rank :: ranks.size])
            except KeyboardInterrupt:
                if ranks.size > 1:
                    raise
        self._units = sum(ranks.gather(self._units))

    def _do(self, numbers: Sequence[int]) -> None:
        """Do some parts.

        Raises:
            KeyboardInterrupt: After Ctrl-C; what there is of the last part is in ``_partial``.
        """
        plan, options = self._plan, self._options
        worker = Worker(self._model, options, self._output, say)
        of_images = [number for number in numbers if number < plan.num_image_parts]
        total = sum(stop - start for start, stop in map(plan.bounds, of_images))
        advance = self._count('images', total) if total else None
        for number in numbers:
            key = plan.key(number)
            start, stop = plan.bounds(number)
            sources = [plan.sources[index] for index in range(start, stop)]
            part = Part()
            self._partial = number, part
            try:
                if number < plan.num_image_parts and advance:
                    worker.do_images(sources, start, part, advance)
                else:
                    worker.do_video(sources[0], part, self._count)
                self._unfinished.write(number, key, part)
            finally:
                self._units += part.totals.units
        self._partial = None

    def _count(self, name: str, total: int | None) -> Callable[[], None]:
        """Return what counts one image or frame more, of this process."""
        share = f' of process 1 of {self._ranks.size}' if self._ranks.size > 1 else ''
        return self._line.counter(name + share, total)

    def finish(self, model: str, skipped: int) -> Predicted:
        """Merge the parts, print what they say, and take them away.

        Raises:
            InputError: If a result cannot be written.
        """
        interrupted = self._partial is not None
        options, plan = self._options, self._plan
        head = dict(
            task=self._model.task,
            config=options.config and str(options.config),
            checkpoint=str(model),
            score_thr=self._model.score_thr,
            track=options.track,
            classes=list(self._model.classes),
        )
        tail = dict(skipped_files=skipped, interrupted=interrupted)
        parts = self._unfinished.read(range(len(plan)), self._partial)
        totals, unreadable = merge(
            self._folder, head, tail, parts, self._output.csv_header, self._labels
        )
        lines = self._output.written() + (self._labels.finish() if self._labels else [])
        if not interrupted or not self._unfinished.any():
            self._unfinished.remove()
        run = Run(head | tail, totals, unreadable, time.perf_counter() - self._start, self._units)
        path = self._folder / 'predictions.json'
        print_summary(run, path, self._output, lines)
        return Predicted(path, interrupted, len(unreadable))
