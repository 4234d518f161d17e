"""What ``/metrics`` tells Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ['Metrics']

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_IMAGES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """Counters of one server.

    Args:
        in_work: Returns the number of requests that are in work.
    """

    def __init__(self, in_work: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            'casvit_mm_requests',
            'Answers of /predict by status.',
            ['status'],
            registry=self._registry,
        )
        self._seconds = Histogram(
            'casvit_mm_request_seconds',
            'From the first byte of a request to its answer, where it succeeded.',
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._model_seconds = Histogram(
            'casvit_mm_model_seconds',
            'Of the model, per batch.',
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._batch_images = Histogram(
            'casvit_mm_batch_images',
            'Images that went through the model together.',
            buckets=_IMAGES,
            registry=self._registry,
        )
        gauge = Gauge('casvit_mm_in_work', 'Requests in work.', registry=self._registry)
        gauge.set_function(in_work)

    def answered(self, status: int, seconds: float) -> None:
        """Count an answer, and its time if it succeeded."""
        self._requests.labels(status).inc()
        if status == 200:
            self._seconds.observe(seconds)

    def predicted(self, seconds: float, images: int) -> None:
        """Count a batch of the model."""
        self._model_seconds.observe(seconds)
        self._batch_images.observe(images)

    def text(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self._registry)
