"""From parts to the files of a whole prediction, one part in memory at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from casvit_mm.io import json_text, replacing
from casvit_mm.prediction.labels import LabelFiles
from casvit_mm.prediction.parts import Part
from casvit_mm.prediction.totals import Totals

__all__ = ['merge']


def merge(
    folder: Path,
    head: dict[str, Any],
    tail: dict[str, Any],
    parts: Iterable[Part],
    csv_header: list[str] | None,
    labels: LabelFiles | None,
) -> tuple[Totals, list[dict[str, str]]]:
    """Write ``predictions.json`` and ``predictions.csv``, and hand over the labels.

    Args:
        folder: Of the results.
        head: What stands in the JSON before the images.
        tail: What stands at its end.
        parts: All parts in their order: those with images come before those with videos.
        csv_header: Columns of the CSV; None writes none.
        labels: Gets the labels for a labelling tool.

    Returns:
        The totals, and what could not be read.

    Raises:
        InputError: If a file cannot be written, or a part cannot be read; files that were there
            are left as they were.
    """
    totals = Totals()
    unreadable: list[dict[str, str]] = []
    # The JSON takes its place after the CSV.
    with (
        replacing(folder / 'predictions.json') as file,
        _open_csv(folder / 'predictions.csv', csv_header) as table,
    ):
        file.write('{\n')
        _write_fields(file, head)
        images, videos = _ListWriter(file, 'images'), _ListWriter(file, 'videos')
        images.begin()
        for part in parts:
            images.write(part.images)
            if part.videos:
                images.end()
                videos.begin()
            videos.write(part.videos)
            totals.add(part.totals)
            unreadable.extend(part.unreadable)
            if table:
                table.write(part.rows)
            if labels:
                _hand_over(part, labels)
        for each in (images, videos):
            each.begin()
            each.end()
        _write_fields(file, dict(unreadable=unreadable, **tail), last=True)
    return totals, unreadable


@contextmanager
def _open_csv(path: Path, header: list[str] | None) -> Iterator[IO | None]:
    if header is None:
        yield None
        return
    with replacing(path) as file:
        csv.writer(file, lineterminator='\n').writerow(header)
        yield file


def _hand_over(part: Part, labels: LabelFiles) -> None:
    for path, name, found in part.labels:
        labels.add(Path(path), name, found)
    labels.leave_out(part.unlabelled)


def _write_fields(file: IO, fields: dict[str, Any], last: bool = False) -> None:
    lines = [f'  {json.dumps(key)}: {json_text(value, 1)}' for key, value in fields.items()]
    file.write(',\n'.join(lines) + ('\n}\n' if last else ',\n'))


class _ListWriter:
    """Writes a list of the JSON, of texts for its depth; begins and ends it once."""

    def __init__(self, file: IO, key: str) -> None:
        self._file, self._key = file, key
        self._begun = self._ended = False
        self._before = '\n    '

    def begin(self) -> None:
        if not self._begun:
            self._file.write(f'  {json.dumps(self._key)}: [')
        self._begun = True

    def write(self, items: Iterable[str]) -> None:
        for item in items:
            self._file.write(self._before + item)
            self._before = ',\n    '

    def end(self) -> None:
        if not self._ended:
            self._file.write('],\n' if self._before == '\n    ' else '\n  ],\n')
        self._ended = True
