"""What one request, and all of them together, may take from the server."""

from __future__ import annotations

from dataclasses import dataclass

from casvit_mm.errors import InputError
from casvit_mm.io import PIXEL_LIMIT, pixel_limit

__all__ = ['Limits']


@dataclass(frozen=True)
class Limits:
    """Bounds of a server.

    Attributes:
        max_bytes: Of a request's body; beyond it the answer is 413.
        max_pixels: Of an image, by its header; beyond it the answer is 422.
        queue: Requests in work at once; beyond it the answer is 503.
        timeout: Seconds for the body to come, else the answer is 408, and as many from then to the
            answer, else it is 504.

    Raises:
        InputError: If one of them is no bound, or more pixels are asked for than any reader of
            images takes.
    """

    max_bytes: int = 32 * 2**20
    max_pixels: int = 2**24
    queue: int = 64
    timeout: float = 30

    def __post_init__(self) -> None:
        for name in ('max_bytes', 'max_pixels', 'queue', 'timeout'):
            value = getattr(self, name)
            if not 0 < value < float('inf'):
                option = name.replace('_', '-')
                raise InputError(f'--{option} must be a number above 0, got {value}')
        if self.max_pixels > pixel_limit():
            raise InputError(
                f'--max-pixels {self.max_pixels}: images have no more than {pixel_limit():,} '
                f'pixels. Set the environment variable {PIXEL_LIMIT} to a larger number'
            )
