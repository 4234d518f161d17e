"""One opened video, stream or webcam: by PyAV where it is installed, else by OpenCV."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from casvit_mm.deploy.images import quiet_opencv
from casvit_mm.errors import InputError

__all__ = ['Capture', 'LostError', 'Pixels', 'is_address', 'open_capture', 'shown']

_OPENING = 15.0  # seconds that a stream may take to answer
_STALL = 5.0  # seconds without data after which a stream counts as lost

Pixels = Callable[[], np.ndarray | None]  # decodes a frame that is wanted; None if it is damaged


class LostError(Exception):
    """A stream that stalled or dropped the connection, and may come back.

    Attributes:
        closed: Whether the other side closed the connection, which may be its way to end.
    """

    def __init__(self, reason: str, *, closed: bool = False) -> None:
        super().__init__(reason)
        self.closed = closed


class Capture(Protocol):
    """An opened video.

    Attributes:
        size: Width and height of its frames in pixels.
        fps: Frames per second; 25 where the file does not say.
        num_frames: Frames that the header promises; 0 where it does not say.
        duration: Seconds that the header promises; 0 where it does not say.
    """

    size: tuple[int, int]
    fps: float
    num_frames: int
    duration: float

    def frames(self) -> Iterator[tuple[float | None, Pixels]]:
        """Yield time in seconds from the first frame on, and BGR pixels, of every frame.

        Raises:
            LostError: If a stream stalls or drops the connection.
        """


def is_address(origin: str | Path | int) -> bool:
    """Return whether something is the address of a stream, neither file nor webcam."""
    return isinstance(origin, str) and '://' in origin


def open_capture(origin: str | Path | int, wait: float) -> Capture:
    """Open a file, an address or the webcam of a number.

    Args:
        origin: What to open.
        wait: Seconds that a stream may go without data.

    Raises:
        InputError: If it cannot be opened, or holds no video.
    """
    if find_spec('av') is None or isinstance(origin, int):
        return _OpenCVCapture(origin)
    return _AvCapture(origin, wait)


class _AvCapture:
    """By PyAV: files and streams."""

    def __init__(self, origin: str | Path, wait: float) -> None:
        av = import_module('av')
        self._damaged = av.error.InvalidDataError
        self._failed = av.error.FFmpegError
        self._stalled = av.error.ExitError
        self._stall = min(_STALL, wait)
        self._is_stream = is_address(origin)
        try:
            self._file = self._open(av, origin, min(_OPENING, wait))
        except (av.error.FFmpegError, OSError) as error:
            raise _not_opened(origin, error) from error
        cover = av.stream.Disposition.attached_pic  # of a song
        streams = [s for s in self._file.streams.video if not s.disposition & cover]
        if not streams:
            self._file.close()
            raise InputError(f'{shown(origin)} holds no video, only sound or other data')
        self._stream: Any = streams[0]
        self.size = (self._stream.codec_context.width, self._stream.codec_context.height)
        self.fps = float(self._stream.average_rate or self._stream.guessed_rate or 25)
        length = self._file.duration
        self.duration = length / av.time_base if length and length > 0 else 0.0
        self.num_frames = max(0, self._stream.frames)

    def _open(self, av: Any, origin: str | Path, opening: float) -> Any:
        if not self._is_stream:
            # As a file, whatever its name begins with.
            return av.open(f'file:{origin}', metadata_errors='replace')
        options = {'rtsp_flags': 'prefer_tcp'} if str(origin).startswith('rtsp') else {}
        timeout = (opening, self._stall)
        return av.open(origin, options=options, timeout=timeout, metadata_errors='replace')

    def frames(self) -> Iterator[tuple[float | None, Pixels]]:
        # Motion JPEG over HTTP has no times: those of arrival are taken.
        arrival = self._is_stream and 'mpjpeg' in self._file.format.name
        first: float | None = None
        with closing(self._file):
            for frame in self._decoded():
                if frame is None:
                    yield None, _nothing
                    continue
                moment = time.monotonic() if arrival else frame.time
                if moment is not None:
                    first = moment if first is None else first
                    moment -= first
                yield moment, _Upright(frame)

    def _decoded(self) -> Iterator[Any]:
        """Yield frames, None for one that is damaged."""
        try:
            for packet in self._file.demux(self._stream):
                try:
                    yield from packet.decode()
                except self._damaged:
                    yield None
        except (self._failed, OSError) as error:
            if self._is_stream:
                raise self._lost(error) from error
            # A file ends here; whether too early, its header tells.

    def _lost(self, error: Any) -> LostError:
        if isinstance(error, self._stalled):
            return LostError(f'no data for {self._stall:g} s')
        if error.errno == errno.EIO:  # no end was announced, and there is no more
            return LostError('the connection was closed', closed=True)
        return LostError(error.strerror)


class _Upright:
    """The pixels of a frame, turned as a telephone that was held upright says."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    def __call__(self) -> np.ndarray:
        pixels = self._frame.to_ndarray(format='bgr24')
        turns = round(self._frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def _nothing() -> None:
    """Return no pixels: a damaged frame."""


class _OpenCVCapture:
    """By OpenCV: webcams, and all else without PyAV."""

    def __init__(self, origin: str | Path | int) -> None:
        self._is_webcam = isinstance(origin, int)
        with quiet_opencv():
            self._capture = cv2.VideoCapture(origin if self._is_webcam else str(origin))  # type: ignore[arg-type]
        if not self._capture.isOpened():
            raise _not_opened(origin)
        get = self._capture.get
        self.size = (int(get(cv2.CAP_PROP_FRAME_WIDTH)), int(get(cv2.CAP_PROP_FRAME_HEIGHT)))
        fps = get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps < float('inf') else 25.0
        self.num_frames = max(0, int(get(cv2.CAP_PROP_FRAME_COUNT)))
        self.duration = 0.0

    def frames(self) -> Iterator[tuple[float | None, Pixels]]:
        start = time.monotonic()
        while self._capture.grab():
            seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if self._is_webcam:
                seconds = time.monotonic() - start
            yield (seconds if seconds > 0 else None), self._pixels
        self._capture.release()
        if self._is_webcam:
            raise LostError('no more pictures')

    def _pixels(self) -> np.ndarray | None:
        decoded, frame = self._capture.retrieve()
        return frame if decoded else None


def shown(origin: str | Path | int) -> str:
    """Return how messages call a source; a password in an address is left out."""
    if isinstance(origin, int):
        return f'webcam {origin}'
    scheme, separator, rest = str(origin).partition('://')
    host, slash, path = rest.partition('/')
    return f'{scheme}{separator}{host.rpartition("@")[2]}{slash}{path}' if separator else scheme


def _not_opened(origin: str | Path | int, error: Exception | None = None) -> InputError:
    name = shown(origin)
    if isinstance(origin, int):
        return InputError(f'{name} cannot be opened: it is absent, or in use')
    if is_address(origin):
        reason = getattr(error, 'strerror', None)
        return InputError(
            f'{name} cannot be opened as a stream: no answer, or no video behind it'
            + (f' ({reason})' if reason else '')
        )
    if not Path(origin).is_file():
        return InputError(f'{name} does not exist')
    size = Path(origin).stat().st_size
    if size == 0:
        return InputError(f'{name} cannot be opened as a video: it is empty (0 bytes)')
    return InputError(
        f'{name} ({size} bytes) cannot be opened as a video: it is cut short, damaged, no video, '
        'or in a codec that is not known here. Converting it may help: '
        'ffmpeg -i IN -c:v libx264 out.mp4'
    )
