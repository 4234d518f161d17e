"""The one thread in which the model predicts."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np

from casvit_mm.deploy.model import ImageModel, Prepared

__all__ = ['ModelThread', 'Predicted', 'paying_batch']

_GAIN = 0.9  # of the time per image, at which a larger batch pays
_SIZES = (4, 8)  # batches that are tried
_PATIENCE = 1.0  # seconds per image from which no batch is tried: it would not be waited for


@dataclass(frozen=True)
class Predicted:
    """What the model says of one image.

    Attributes:
        result: One of the types of :mod:`casvit_mm.deploy.results`.
        seconds: That the model took, for the whole batch.
        images: In the batch.
    """

    result: Any
    seconds: float
    images: int


class ModelThread:
    """A thread that gives images to a model, in the order in which they came.

    Images of one shape that wait together go through the model together; none waits for another
    one to come.

    Args:
        model: What predicts.
        batch_size: Most images that go through it together.
        observe: Called with the seconds and the number of images of every batch.
    """

    def __init__(
        self,
        model: ImageModel,
        batch_size: int = 1,
        observe: Callable[[float, int], None] = lambda seconds, images: None,
    ) -> None:
        self._model, self._batch_size, self._observe = model, batch_size, observe
        self._waiting: deque[tuple[Prepared, Future]] = deque()
        self._change = threading.Condition()
        self._closed = False
        self._since: float | None = None
        self._thread = threading.Thread(target=self._work, name='model', daemon=True)
        self._thread.start()

    def submit(self, image: Prepared) -> Future:
        """Return the :class:`Predicted` of an image, once it is there; cancel it to give it up."""
        future: Future = Future()
        with self._change:
            if self._closed:
                raise RuntimeError('the thread of the model has ended')
            self._waiting.append((image, future))
            self._change.notify()
        return future

    def stuck(self, seconds: float) -> bool:
        """Return whether the thread has died, or works on one batch for longer than that."""
        since = self._since
        late = since is not None and time.monotonic() - since > seconds
        return late or not self._thread.is_alive()

    def close(self) -> None:
        """End the thread after what waits; a batch that never ends is left behind."""
        with self._change:
            self._closed = True
            self._change.notify()

    def _work(self) -> None:
        while batch := self._next_batch():
            self._since = time.monotonic()
            self._predict(batch)
            self._since = None
            del batch  # nothing of a request is kept until the next one

    def _next_batch(self) -> list[tuple[Prepared, Future]]:
        """Wait for images and take the first, with others of its shape; none once it is closed."""
        with self._change:
            while True:
                while not self._waiting and not self._closed:
                    self._change.wait()
                if not self._waiting:
                    return []
                shape = self._waiting[0][0].shape
                batch: list[tuple[Prepared, Future]] = []
                left: deque[tuple[Prepared, Future]] = deque()
                for image, future in self._waiting:
                    if len(batch) == self._batch_size or image.shape != shape:
                        left.append((image, future))
                    elif future.set_running_or_notify_cancel():
                        batch.append((image, future))
                self._waiting = left
                if batch:
                    return batch

    def _predict(self, batch: Sequence[tuple[Prepared, Future]]) -> None:
        start = time.perf_counter()
        try:
            results = self._model.predict([image for image, _ in batch])
        except BaseException as error:
            if len(batch) > 1:  # one image must not cost the others theirs
                for one in batch:
                    self._predict([one])
            else:
                batch[0][1].set_exception(error)
            return
        seconds = time.perf_counter() - start
        self._observe(seconds, len(batch))
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(Predicted(result, seconds, len(batch)))


def paying_batch(model: ImageModel, pixels: np.ndarray) -> tuple[int, dict[int, float]]:
    """Measure which number of images to put through a model together.

    Args:
        model: It predicts on the image several times, which also warms it up.
        pixels: BGR, uint8 ``(H, W, 3)``.

    Returns:
        The number, 1 where larger ones take no less time per image; and the seconds per image by
        the number of images.
    """
    image = model.prepare_image(pixels)
    model.predict([image])  # the first one allocates
    best, seconds = 1, {1: _seconds_per_image(model, [image])}
    for size in _SIZES:
        if seconds[1] > _PATIENCE:
            break
        model.predict([image] * size)
        seconds[size] = _seconds_per_image(model, [image] * size)
        if seconds[size] > _GAIN * seconds[best]:
            break
        best = size
    return best, seconds


def _seconds_per_image(model: ImageModel, batch: Sequence[Prepared]) -> float:
    """Return the shorter time of two."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        model.predict(batch)
        times.append(time.perf_counter() - start)
    return min(times) / len(batch)
