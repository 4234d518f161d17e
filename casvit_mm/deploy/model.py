"""A model as a function of images, whatever file it comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.deploy.images import as_bgr, read_image
from casvit_mm.deploy.results import Result
from casvit_mm.deploy.tracking import Tracker
from casvit_mm.deploy.videos import WAIT, VideoReader, is_video
from casvit_mm.deploy.windows import WindowedImage
from casvit_mm.errors import InputError

__all__ = ['ImageModel', 'Prepared', 'in_batches', 'read_pixels']


@dataclass(frozen=True)
class Prepared:
    """An image that is ready for a model.

    Attributes:
        pixels: The image itself, BGR, uint8 ``(H, W, 3)``; windows of one that is too large.
        shape: Of the network's input. Images of one shape can be predicted together.
        data: What the model made of it.
        source: The file, or the pixels.
        tag: Whatever the caller wants to know it by.
    """

    pixels: np.ndarray | WindowedImage
    shape: tuple[int, ...]
    data: Any
    source: Path | np.ndarray
    tag: Any = None


class ImageModel(ABC):
    """A model as a function of images: the same for all tasks, checkpoints and exported files.

    Attributes:
        task: ``'detection'``, ``'segmentation'`` or ``'classification'``.
        classes: Class names in the order of the outputs.
        device: Where it computes, for people to read.
        score_thr: Minimum score of a detection; None of another task.
        max_dets: Most objects of an image; None if there is no such limit.
        label_thr: Probability above which a pixel is class 1, of a segmentor with one output.
        note: What the user should know of its file; empty if nothing.
        recipe: What it computes beside its file, as a text: the config of a checkpoint.
    """

    task: str
    classes: tuple[str, ...]
    device: str
    score_thr: float | None = None
    max_dets: int | None = None
    label_thr: float | None = None
    note: str = ''
    recipe: str = ''

    def __call__(self, image: Any, *, batch_size: int = 1, track: str | None = None) -> Any:
        """Return what the model finds.

        Args:
            image: One of the following, or a list of them:

                - the path of an image;
                - an image of Pillow;
                - pixels in OpenCV's order, uint8 or uint16: ``(H, W)`` grey, ``(H, W, 3)`` BGR or
                  ``(H, W, 4)`` BGRA;

                or the path of a video.
            batch_size: Images of a list, or frames, that go through the model together; only
                neighbours of one size do, so that results do not depend on it.
            track: Of a video, as :meth:`frames` takes it.

        Returns:
            :class:`casvit_mm.deploy.Detections`, :class:`casvit_mm.deploy.Segmentation` or
            :class:`casvit_mm.deploy.Classification`, by the task; of a list a list of them, of a
            video an iterator over its frames.

        Raises:
            InputError: If an image or video cannot be read, or is none of these; or there is
                something to track and no video.
        """
        if track is not None and not (isinstance(image, (str, Path)) and is_video(image)):
            raise InputError('track is for a video, whose objects it follows; this is none')
        if isinstance(image, (list, tuple)):
            return list(self.stream(image, batch_size=batch_size))
        if isinstance(image, (str, Path)) and is_video(image):
            return self.frames(image, batch_size=batch_size, track=track)
        return next(self.stream([image]))

    def stream(self, images: Iterable[Any], *, batch_size: int = 1) -> Iterator[Any]:
        """Yield what the model finds in each image, in their order; for more than memory holds.

        Raises:
            InputError: As :meth:`__call__`.
        """
        for batch in in_batches((self.prepare_image(image) for image in images), batch_size):
            yield from self.predict(batch)

    def frames(
        self,
        video: str | Path | int,
        *,
        every: int = 1,
        batch_size: int = 1,
        track: str | None = None,
        track_thr: float | None = None,
        wait: float = WAIT,
    ) -> Iterator[Any]:
        """Yield what the model finds in the frames of a video, each with ``frame`` and ``time``.

        Args:
            video: A file, an address or the number of a webcam.
            every: Take every n-th frame.
            batch_size: Frames that go through the model together.
            track: ``'bytetrack'`` or ``'ocsort'`` gives each object of a detector a number that it
                keeps; see :class:`casvit_mm.deploy.tracking.Tracker`.
            track_thr: Minimum score of an object that starts a track; None takes that of the model.
                Weaker ones only continue one (ByteTrack).
            wait: Seconds that a stream is waited for that stalls or drops the connection.

        Raises:
            InputError: If it cannot be opened, or holds no frame; if nothing can be tracked; or a
                stream was lost and did not come back.
        """
        reader = VideoReader(video, wait)
        follow = self.tracker(track, reader.fps / every, track_thr) if track else None
        return self._frames(reader, every, batch_size, follow)

    def tracker(self, name: str, fps: float, score_thr: float | None = None) -> Tracker:
        """Return what gives the objects of one video their numbers.

        Args:
            name: ``'bytetrack'`` or ``'ocsort'``.
            fps: Frames per second that it will see.
            score_thr: Minimum score of an object that starts a track; None takes the model's.

        Raises:
            InputError: If this is no detector, or as
                :func:`casvit_mm.deploy.tracking.check_tracker`.
        """
        if self.task != 'detection' or self.score_thr is None:
            raise InputError(
                f'tracking follows the objects of a detector; this is a model for {self.task}'
            )
        return Tracker(name, fps, self.score_thr if score_thr is None else score_thr)

    def _frames(
        self, reader: VideoReader, every: int, batch_size: int, follow: Tracker | None
    ) -> Iterator[Any]:
        prepared = (
            self.prepare_image(pixels, tag=(index, time))
            for index, time, pixels in reader.frames(every)
        )
        for batch in in_batches(prepared, batch_size):
            for one, result in zip(batch, self.predict(batch), strict=True):
                index, time = one.tag
                timed: Any = replace(result, frame=index, time=time)
                yield follow(timed) if follow else timed

    def prepare_image(self, image: Any, tag: Any = None) -> Prepared:
        """Read an image and bring it to the size that the network sees.

        Args:
            image: As for a call, but no list and no video.
            tag: What the caller wants to know it by.

        Raises:
            InputError: If it cannot be read or resized.
        """
        pixels = read_pixels(image)
        data, shape = self._prepare_pixels(pixels)
        source = Path(image) if isinstance(image, (str, Path)) else pixels
        return Prepared(pixels, shape, data, source, tag)

    @abstractmethod
    def predict(self, batch: Sequence[Prepared]) -> list[Result]:
        """Return a result for each of several images whose inputs have one shape."""

    def logits(self, batch: Sequence[Prepared]) -> list[np.ndarray]:
        """Return what a segmentor's labels follow from, float32 ``(C, H, W)`` of each image.

        Raises:
            InputError: If the model gives none.
        """
        raise InputError(f'a model for {self.task} gives no logits of pixels')

    @abstractmethod
    def _prepare_pixels(self, pixels: np.ndarray) -> tuple[Any, tuple[int, ...]]:
        """Return what the network takes for BGR pixels ``(H, W, 3)``, and the shape of its input.

        Raises:
            InputError: If they cannot be resized as the pipeline wants it.
        """


def in_batches(images: Iterable[Prepared], batch_size: int) -> Iterator[list[Prepared]]:
    """Yield neighbours of one shape together, at most ``batch_size``, in their order.

    No image is padded to the size of another, so that a result does not depend on the batch.
    """
    waiting: list[Prepared] = []
    try:
        for image in images:
            if waiting and (len(waiting) == batch_size or waiting[0].shape != image.shape):
                yield waiting
                waiting = []
            waiting.append(image)
    except InputError:  # what came before it is not lost by it
        if waiting:
            yield waiting
        raise
    if waiting:
        yield waiting


def read_pixels(image: Any) -> np.ndarray:
    """Return the pixels of an image, BGR, uint8 ``(H, W, 3)``.

    Args:
        image: A path, an image of Pillow, or an array as
            :func:`casvit_mm.deploy.images.as_bgr` takes it.

    Raises:
        InputError: If it cannot be read, or is none of these.
    """
    if isinstance(image, (str, Path)):
        return read_image(image)
    if isinstance(image, np.ndarray):
        return as_bgr(image)
    if type(image).__module__.partition('.')[0] == 'PIL' and hasattr(image, 'mode'):
        from PIL import ImageOps

        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith('I;16'):
            return as_bgr(np.asarray(upright).astype(np.uint16))
        return np.ascontiguousarray(np.asarray(upright.convert('RGB'))[..., ::-1])
    raise InputError(
        f'an image is a path, an image of Pillow or a NumPy array, got {type(image).__name__}'
    )
