"""What a prediction returns, from a checkpoint and from an exported file alike."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.deploy.base import Prediction, optional, write_png
from casvit_mm.deploy.drawing import draw_classes, draw_objects, draw_segments
from casvit_mm.deploy.masks import CroppedMasks, crop_of, encode_crop
from casvit_mm.deploy.rle import encode_mask
from casvit_mm.deploy.windows import WindowedImage
from casvit_mm.io import replacing

__all__ = ['Classification', 'Detections', 'Features', 'Result', 'Segmentation']

_TOP = 5  # classes that a picture names
_ROWS = 256  # of a label map that are counted at once


@dataclass(frozen=True)
class Classification(Prediction):
    """Classes of an image, the most probable one first.

    Attributes:
        scores: Probabilities ``(C,)``, the highest first.
        labels: Numbers of the classes ``(C,)``.
        names: Their names.
    """

    scores: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each class, the most probable one first: class, label, score."""
        columns = zip(self.names, self.labels.tolist(), self.scores.tolist(), strict=True)
        return [{'class': name, 'label': label, 'score': score} for name, label, score in columns]

    def draw(self, image: np.ndarray | WindowedImage | None = None) -> np.ndarray:
        pixels = self._canvas(image)
        return draw_classes(pixels, self.names[:_TOP], self.scores[:_TOP])

    def annotations(self) -> list[dict[str, Any]]:
        return [dict(category_id=int(self.labels[0]) + 1, score=float(self.scores[0]))]

    def to_supervision(self) -> Any:
        """Return a ``supervision.Classifications``."""
        supervision = optional('supervision', 'to_supervision()')
        return supervision.Classifications(class_id=self.labels, confidence=self.scores)

    def write_data(self, folder: Path) -> Path:
        path = folder / f'{self.name}.csv'
        with replacing(path) as file:
            table = csv.DictWriter(file, ['class', 'label', 'score'], lineterminator='\n')
            table.writeheader()
            table.writerows(self.rows())
        return path


@dataclass(frozen=True)
class Detections(Prediction):
    """Objects of an image, the highest score first.

    Attributes:
        boxes: Left, top, right and bottom in pixels of the image, float32 ``(N, 4)``.
        scores: ``(N,)``, from 0 to 1.
        labels: Numbers of the classes ``(N,)``.
        names: Their names.
        masks: bool ``(N, H, W)`` at the size of the image; of an image that was read by tiles the
            same as :class:`casvit_mm.deploy.masks.CroppedMasks`; None from a model without masks.
        tracks: Numbers ``(N,)`` that objects of a video keep from frame to frame, from 1, 0 while
            an object has none; None without a tracker.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    masks: np.ndarray | CroppedMasks | None = None
    tracks: np.ndarray | None = None

    def select(self, kept: np.ndarray) -> Detections:
        """Return the objects that ``kept``, bool ``(N,)``, marks."""
        return replace(
            self,
            boxes=self.boxes[kept],
            scores=self.scores[kept],
            labels=self.labels[kept],
            names=tuple(name for name, keep in zip(self.names, kept, strict=True) if keep),
            masks=None if self.masks is None else self.masks[kept],
            tracks=None if self.tracks is None else self.tracks[kept],
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each object: class, label, score, and left, top, right and bottom.

        After a tracker also ``track``, None while the object has no number.
        """
        sides = ('left', 'top', 'right', 'bottom')
        columns = zip(
            self.names,
            self.labels.tolist(),
            self.scores.tolist(),
            self.boxes.tolist(),
            strict=True,
        )
        rows = [
            {'class': name, 'label': label, 'score': score, **dict(zip(sides, box, strict=True))}
            for name, label, score, box in columns
        ]
        if self.tracks is not None:
            for row, track in zip(rows, self.tracks.tolist(), strict=True):
                row['track'] = track or None
        return rows

    def draw(self, image: np.ndarray | WindowedImage | None = None) -> np.ndarray:
        pixels = self._canvas(image)
        classes = self.classes or tuple(dict.fromkeys(self.names))
        boxes, masks = self.boxes, self.masks
        size = pixels.shape[:2]
        if isinstance(masks, CroppedMasks) and size != masks.size:
            masks = masks.resized(size)
        if self.size != (0, 0) and size != self.size:
            factors = size[1] / self.size[1], size[0] / self.size[0]
            boxes = boxes * np.array(factors * 2, np.float32)
        return draw_objects(pixels, boxes, self.scores, self.names, masks, classes, self.tracks)

    def annotations(self) -> list[dict[str, Any]]:
        found = []
        for i, (left, top, right, bottom) in enumerate(self.boxes.tolist()):
            box = [left, top, right - left, bottom - top]
            entry: dict[str, Any] = dict(category_id=int(self.labels[i]) + 1, bbox=box)
            entry.update(area=box[2] * box[3], iscrowd=0, score=float(self.scores[i]))
            if self.masks is not None:
                mask = crop_of(self.masks, i)
                entry['segmentation'] = encode_crop(mask, self.size)
                entry['area'] = int(mask.pixels.sum())
            if self.tracks is not None:
                entry['track_id'] = int(self.tracks[i])
            found.append(entry)
        return found

    def to_supervision(self) -> Any:
        """Return a ``supervision.Detections``; its ``data`` has ``class_name``.

        Its ``tracker_id`` are the tracks, -1 for none.
        """
        return optional('supervision', 'to_supervision()').Detections(
            xyxy=self.boxes,
            mask=None if self.masks is None else np.asarray(self.masks),
            confidence=self.scores,
            class_id=self.labels,
            tracker_id=None if self.tracks is None else np.where(self.tracks, self.tracks, -1),
            data={'class_name': np.array(self.names, dtype=str)},
        )

    def write_data(self, folder: Path) -> Path:
        path = folder / f'{self.name}.json'
        with replacing(path) as file:
            json.dump(self.to_coco(), file)
        return path


@dataclass(frozen=True)
class Segmentation(Prediction):
    """The class of each pixel.

    Attributes:
        labels: Numbers of the classes ``(H, W)`` at the size of the image, uint8; uint16 from 257
            classes on.
    """

    labels: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all classes, the same as :attr:`classes`."""
        return self.classes

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each class that occurs, the largest first: class, label, pixels, share.

        ``share`` is that of the image, from 0 to 1.
        """
        sizes = np.zeros(len(self.classes), np.int64)
        for top in range(0, len(self.labels), _ROWS):  # bincount takes 8 bytes for each pixel
            block = self.labels[top : top + _ROWS].ravel()
            sizes += np.bincount(block, minlength=len(self.classes))
        return [
            {
                'class': self.classes[label],
                'label': label,
                'pixels': int(sizes[label]),
                'share': float(sizes[label] / self.labels.size),
            }
            for label in np.argsort(-sizes, kind='stable').tolist()
            if sizes[label]
        ]

    def draw(self, image: np.ndarray | WindowedImage | None = None) -> np.ndarray:
        pixels = self._canvas(image)
        rows, columns = (
            np.arange(new) * old // new
            for new, old in zip(pixels.shape, self.labels.shape, strict=False)
        )
        labels = (
            self.labels[rows[:, None], columns]
            if pixels.shape[:2] != self.labels.shape
            else self.labels
        )
        return draw_segments(pixels, labels, self.classes)

    def _parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return labels ``(K,)`` of the classes that occur, masks ``(K, H, W)``, boxes ``(K, 4)``.

        Boxes are left, top, right and bottom, the last two without the pixel that they name.
        """
        found = np.unique(self.labels)
        masks = self.labels == found[:, None, None]
        boxes = np.zeros((len(found), 4), np.float32)
        for box, mask in zip(boxes, masks, strict=True):
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        return found.astype(np.int64), masks, boxes

    def annotations(self) -> list[dict[str, Any]]:
        return [
            dict(
                category_id=int(label) + 1,
                bbox=[float(v) for v in (x1, y1, x2 - x1, y2 - y1)],
                area=int(mask.sum()),
                iscrowd=0,
                segmentation=encode_mask(mask),
            )
            for label, mask, (x1, y1, x2, y2) in zip(*self._parts(), strict=True)
        ]

    def to_supervision(self) -> Any:
        """Return a ``supervision.Detections`` with one mask for each class that occurs."""
        labels, masks, boxes = self._parts()
        names = np.array([self.classes[label] for label in labels], dtype=str)
        return optional('supervision', 'to_supervision()').Detections(
            xyxy=boxes, mask=masks, class_id=labels, data={'class_name': names}
        )

    def write_data(self, folder: Path) -> Path:
        path = folder / f'{self.name}.labels.png'
        write_png(path, self.labels)
        return path


@dataclass(frozen=True)
class Features:
    """Feature maps of a backbone.

    Attributes:
        maps: By output, such as ``stride8``: ``(C, h, w)``.
    """

    maps: dict[str, np.ndarray]


Result = Classification | Detections | Segmentation | Features
