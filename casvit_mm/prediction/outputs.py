"""What a prediction leaves beside pictures, by task: entries of the JSON, files, a table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from rich.table import Table

from casvit_mm.deploy.base import write_png
from casvit_mm.deploy.masks import crop_of, encode_crop
from casvit_mm.deploy.model import ImageModel
from casvit_mm.deploy.results import Detections
from casvit_mm.errors import InputError, plain_name
from casvit_mm.prediction.contact_sheets import PAGE, ContactSheets

__all__ = ['TaskOutput', 'output_of', 'tracks_of']

_TOP = 5  # classes of an image that the JSON and the table hold

Unit = Mapping[str, Any]  # an image or a frame in the JSON
Counts = defaultdict[str, Counter[str]]  # by what they count


class TaskOutput(ABC):
    """What one task writes and says.

    Args:
        model: What predicts.
        folder: Folder of the results.
        pictures: Whether to draw.

    Attributes:
        csv_header: Columns of ``predictions.csv``; None of a task that writes none.
    """

    csv_header: list[str] | None = None

    def __init__(self, model: ImageModel, folder: Path, pictures: bool) -> None:
        self.model, self.folder, self.pictures = model, folder, pictures

    @abstractmethod
    def entry(self, result: Any, pixels: Any, file: str, name: str) -> dict[str, Any]:
        """Return what the JSON says of an image or a frame, after writing files of its own.

        Args:
            result: The prediction.
            pixels: The image, BGR, uint8 ``(H, W, 3)``; windows of one that is too large.
            file: What the JSON calls it.
            name: Path of the results of this image or frame, without suffix.
        """

    @abstractmethod
    def count(self, unit: Unit, counts: Counts) -> None:
        """Count what the table and the headline say of an image or a frame."""

    def row(self, file: str, unit: Unit) -> list[Any]:
        """Return what ``predictions.csv`` says of an image or a frame."""
        raise NotImplementedError

    def images_after(self, number: int) -> AbstractContextManager[None]:
        """Be open while images are predicted on that follow ``number`` others of the list."""
        return nullcontext()

    def written(self) -> list[str]:
        """Return a line for each file or folder beside the JSON and the drawings."""
        return []

    @abstractmethod
    def table(self, counts: Counts) -> Table | None:
        """Return a table over all images and frames; None if there is nothing to show."""

    def headline(self, counts: Counts) -> str:
        """Return what was done, to stand before the number of images."""
        return ''


class DetectionOutput(TaskOutput):
    """Objects in the JSON, counted per class."""

    def entry(self, result: Any, pixels: Any, file: str, name: str) -> dict[str, Any]:
        return dict(objects=_objects(result))

    def count(self, unit: Unit, counts: Counts) -> None:
        found = [entry['class'] for entry in unit['objects']]
        counts['objects'].update(found)
        counts['holding'].update(set(found))

    def table(self, counts: Counts) -> Table | None:
        objects, holding = counts['objects'], counts['holding']
        rows = [
            (name, str(objects[name]), str(holding[name]))
            for name in dict.fromkeys(self.model.classes)
            if objects[name]
        ]
        return _table(('class', 'objects', 'images or frames with it'), rows)

    def headline(self, counts: Counts) -> str:
        number = counts['objects'].total()
        objects = f'{number} object{"" if number == 1 else "s"}'
        return f'{objects} scored {self.model.score_thr:g} or more in '


def _objects(result: Detections) -> list[dict[str, Any]]:
    """Return the objects of an image, the highest score first, with rounded numbers."""
    objects = []
    for i, (x1, y1, x2, y2) in enumerate(result.boxes.astype(float).tolist()):
        entry: dict[str, Any] = {
            'class': result.names[i],
            'score': round(float(result.scores[i]), 5),
            'bbox': [round(v, 2) for v in (x1, y1, x2 - x1, y2 - y1)],
        }
        if result.masks is not None:
            entry['segmentation'] = encode_crop(crop_of(result.masks, i), result.size)
        if result.tracks is not None:
            entry['track'] = int(result.tracks[i]) or None
        objects.append(entry)
    return objects


def tracks_of(frames: Sequence[Unit]) -> list[dict[str, Any]]:
    """Return the tracks of a video: number, class, first and last frame, number of frames.

    The class of a track is that of the largest sum of scores.
    """
    scores: dict[int, Counter[str]] = {}
    seen: dict[int, list[int]] = {}
    for frame in frames:
        for entry in frame['objects']:
            if entry['track'] is not None:
                scores.setdefault(entry['track'], Counter())[entry['class']] += entry['score']
                seen.setdefault(entry['track'], []).append(frame['frame'])
    return [
        {
            **{'track': track, 'class': scores[track].most_common(1)[0][0]},
            **dict(first=seen[track][0], last=seen[track][-1], frames=len(seen[track])),
        }
        for track in sorted(seen)
    ]


class SegmentationOutput(TaskOutput):
    """Label PNGs, and the classes that occur with their shares."""

    def entry(self, result: Any, pixels: Any, file: str, name: str) -> dict[str, Any]:
        path = self.folder / 'labels' / f'{name}.png'
        write_png(path, result.labels)
        shares = [
            {'class': row['class'], 'pixels': row['pixels'], 'share': round(row['share'], 5)}
            for row in result.rows()
        ]
        return dict(labels=str(path.relative_to(self.folder)), classes=shares)

    def count(self, unit: Unit, counts: Counts) -> None:
        for entry in unit['classes']:
            counts['pixels'][entry['class']] += entry['pixels']
            counts['holding'][entry['class']] += 1

    def written(self) -> list[str]:
        labels = self.folder / 'labels'
        return [f'labels (number of the class of each pixel): {labels}/'] * labels.is_dir()

    def table(self, counts: Counts) -> Table | None:
        pixels, holding = counts['pixels'], counts['holding']
        rows = [
            (name, f'{number / pixels.total():.1%}', str(holding[name]))
            for name, number in pixels.most_common()
        ]
        return _table(('class', 'of all pixels', 'images or frames with it'), rows)


class ClassificationOutput(TaskOutput):
    """A CSV with a row per image, and sheets of small pictures under their class."""

    def __init__(self, model: ImageModel, folder: Path, pictures: bool) -> None:
        super().__init__(model, folder, pictures)
        number = min(_TOP, len(model.classes))
        columns = [f'{what}_{i}' for i in range(1, number + 1) for what in ('class', 'score')]
        self.csv_header = ['file', 'frame', *columns]
        self._sheets: ContactSheets | None = None

    def entry(self, result: Any, pixels: Any, file: str, name: str) -> dict[str, Any]:
        best = result.rows()[:_TOP]
        if self._sheets and result.frame is None:
            self._sheets.add(pixels, Path(file).name, best[0]['class'], best[0]['score'])
        return dict(
            classes=[{'class': r['class'], 'score': round(r['score'], 5)} for r in best],
        )

    def count(self, unit: Unit, counts: Counts) -> None:
        counts['best'][unit['classes'][0]['class']] += 1

    def row(self, file: str, unit: Unit) -> list[Any]:
        columns = ((found['class'], f'{found["score"]:.5f}') for found in unit['classes'])
        return [file, unit.get('frame', ''), *(value for pair in columns for value in pair)]

    @contextmanager
    def images_after(self, number: int) -> Iterator[None]:
        if not self.pictures:
            yield
            return
        self._sheets = ContactSheets(self.folder, number // PAGE + 1)
        try:
            yield
        finally:
            self._sheets.finish()
            self._sheets = None

    def written(self) -> list[str]:
        lines = [f'classes of each image: {self.folder / "predictions.csv"}']
        sheets = self.folder / 'sheets'
        return lines + [f'contact sheets: {sheets}/'] * (self.pictures and sheets.is_dir())

    def table(self, counts: Counts) -> Table | None:
        rows = [(name, str(number)) for name, number in counts['best'].most_common()]
        return _table(('class', 'images or frames'), rows)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table | None:
    table = Table(columns[0])
    for column in columns[1:]:
        table.add_column(column, justify='right')
    for first, *others in rows:
        table.add_row(plain_name(first), *others)
    return table if table.row_count else None


_OUTPUTS: dict[str, Callable[[ImageModel, Path, bool], TaskOutput]] = dict(
    detection=DetectionOutput,
    segmentation=SegmentationOutput,
    classification=ClassificationOutput,
)


def output_of(model: ImageModel, folder: Path, pictures: bool) -> TaskOutput:
    """Return what the task of a model writes.

    Raises:
        InputError: If it is a backbone alone.
    """
    if model.task not in _OUTPUTS:
        raise InputError(
            'the exported file is a backbone, whose feature maps are no prediction; '
            'casvit_mm.load(path) gives them in Python'
        )
    return _OUTPUTS[model.task](model, folder, pictures)
