"""From the bytes of a request to those of its answer, within the limits of the server."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import anyio
from anyio import to_thread
from fastapi import HTTPException

from casvit_mm.deploy.model import ImageModel, Prepared
from casvit_mm.errors import InputError
from casvit_mm.serving.answers import encode_answer
from casvit_mm.serving.images import decode
from casvit_mm.serving.limits import Limits
from casvit_mm.serving.metrics import Metrics
from casvit_mm.serving.worker import ModelThread

__all__ = ['Service']

_MOST_PATIENCE = 60  # seconds that a client is told to wait at most


class Service:
    """A model with its thread, and two more: one reads images, one encodes answers.

    While the model works on one image the next is read and the last is encoded. Only a few images
    are in memory at once; of what waits longer there are the bytes alone.

    Args:
        model: What predicts.
        limits: Of the server.
        batch_size: Most images that go through the model together.

    Attributes:
        in_work: Requests that have come and are not answered.
    """

    def __init__(self, model: ImageModel, limits: Limits, batch_size: int) -> None:
        self.in_work = 0
        self.metrics = Metrics(lambda: self.in_work)
        self._model, self._limits = model, limits
        self._seconds = 0.0  # of the model per image, lately
        self._thread = ModelThread(model, batch_size, self._predicted)
        self._in_memory = anyio.Semaphore(2 * batch_size + 2)
        self._reading, self._encoding = anyio.CapacityLimiter(1), anyio.CapacityLimiter(1)

    def _predicted(self, seconds: float, images: int) -> None:
        self.metrics.predicted(seconds, images)
        latest = seconds / images
        self._seconds = 0.8 * self._seconds + 0.2 * latest if self._seconds else latest

    @property
    def is_well(self) -> bool:
        """Whether the model answers."""
        return not self._thread.stuck(self._limits.timeout)

    def close(self) -> None:
        """End the thread of the model."""
        self._thread.close()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take one of the places of requests.

        Raises:
            HTTPException: 503 if there is none, with the time after which to ask again.
        """
        if self.in_work >= self._limits.queue:
            seconds = min(max(math.ceil(self.in_work * self._seconds), 1), _MOST_PATIENCE)
            raise HTTPException(
                503,
                f'{self.in_work} requests are in work, the limit of this server; try again later',
                headers={'Retry-After': str(seconds)},
            )
        self.in_work += 1
        try:
            yield
        finally:
            self.in_work -= 1

    async def answer(
        self,
        content: bytes,
        output: str,
        score_thr: float | None,
        is_gone: Callable[[], Awaitable[bool]],
    ) -> bytes:
        """Return the body of the answer to an image.

        Args:
            content: The file of the image.
            output: A form of :data:`casvit_mm.serving.answers.OUTPUTS`.
            score_thr: Minimum score of an object; None of another task.
            is_gone: Whether the client waits no more.

        Raises:
            HTTPException: 422 for what is no image or too large, 504 if it takes too long.
        """
        try:
            with anyio.fail_after(self._limits.timeout):
                async with self._in_memory:
                    if await is_gone():
                        raise HTTPException(499, 'the client has left')
                    prepared = await to_thread.run_sync(
                        self._prepare, content, limiter=self._reading
                    )
                    predicted = await asyncio.wrap_future(self._thread.submit(prepared))
                    return await to_thread.run_sync(
                        encode_answer, predicted, output, score_thr, limiter=self._encoding
                    )
        except TimeoutError as error:
            raise HTTPException(
                504, f'no answer within {self._limits.timeout:g} seconds; try again later'
            ) from error

    def _prepare(self, content: bytes) -> Prepared:
        try:
            return self._model.prepare_image(decode(content, self._limits.max_pixels))
        except InputError as error:
            raise HTTPException(422, str(error)) from error
