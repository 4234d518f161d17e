"""Drawn videos, which browsers play and which are whole up to their last frame at any time."""

from __future__ import annotations

from fractions import Fraction
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

__all__ = ['VideoWriter', 'drawn_suffix']

# VP9 in WebM: no patents to pay for, its encoder (libvpx) has a BSD licence, unlike that of H.264
# (libx264, GPL), and every current browser plays it. A file that was never closed plays as well,
# where an MP4 would lack its index. Options: https://trac.ffmpeg.org/wiki/Encode/VP9, real time.
_VP9 = {'deadline': 'realtime', 'cpu-used': '5', 'row-mt': '1', 'crf': '32', 'b': '0'}
# What is in the file after each second of the video, however it ends.
_WEBM = {'cluster_time_limit': '1000', 'flush_packets': '1'}
_MILLISECOND = Fraction(1, 1000)  # the unit of times in WebM

# Without PyAV: what is appended to the file's name, and the codec. MPEG-4 is in every OpenCV with
# FFmpeg, Motion JPEG in every OpenCV.
_CODECS = (('', 'mp4v'), ('.avi', 'MJPG'))


def drawn_suffix() -> str:
    """Return ``'.webm'``; ``'.mp4'`` where PyAV is not installed."""
    return '.webm' if find_spec('av') else '.mp4'


class VideoWriter:
    """A drawn video: VP9 by PyAV, and without it MPEG-4 by OpenCV, which browsers do not play.

    Args:
        path: File to write, ending in :func:`drawn_suffix`; where OpenCV lacks FFmpeg ``.avi`` is
            appended.
        fps: Frames per second; OpenCV shows all frames for the same time.

    Attributes:
        path: The file that is written, once there is a frame.
        num_frames: Frames written.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path = path
        self.num_frames = 0
        self._fps = fps
        self._encoder: _Encoder | None = None
        self._size = (0, 0)
        self._first = 0.0

    def write(self, frame: np.ndarray, seconds: float | None = None) -> None:
        """Append BGR pixels ``(H, W, 3)``, brought to the size of the first frame.

        Args:
            frame: The picture.
            seconds: When it is shown, counted as for the first frame; None means one frame after
                the other.

        Raises:
            OSError: If no codec can be opened for writing, or the disk is full.
        """
        if seconds is None:
            seconds = self._first + self.num_frames / self._fps
        if self._encoder is None:
            self._size, self._first = (frame.shape[1], frame.shape[0]), seconds
            self._encoder = self._open()
        if frame.shape[1::-1] != self._size:
            frame = cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA)
        self._encoder.write(frame, seconds - self._first)
        self.num_frames += 1

    def _open(self) -> _Encoder:
        if self.path.suffix == '.webm':
            return _VP9Encoder(self.path, self._fps, self._size)
        for suffix, codec in _CODECS:
            path = self.path.with_name(self.path.name + suffix)
            fourcc = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(path), fourcc, self._fps, self._size)
            if writer.isOpened():
                self.path = path
                return _OpenCVEncoder(writer, path)
        raise OSError(
            f'{self.path} cannot be opened: the disk is full, or this OpenCV writes neither '
            f'{" nor ".join(codec for _, codec in _CODECS)}'
        )

    def close(self) -> None:
        """Finish the file.

        Raises:
            OSError: If fewer frames are in it than were written, as when the disk is full.
        """
        if self._encoder is None:
            return
        stored = self._encoder.close()
        if stored < self.num_frames:
            raise OSError(f'{self.path} holds {stored} of {self.num_frames} frames; disk full?')


class _Encoder(Protocol):
    """A file that takes pictures."""

    def write(self, frame: np.ndarray, seconds: float) -> None:
        """Append BGR pixels, shown at a time from the first frame on."""

    def close(self) -> int:
        """Finish the file and return how many frames are in it."""


class _VP9Encoder:
    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        self._av = import_module('av')
        self._path = path
        self._last = -1  # milliseconds
        self._file = self._av.open(str(path), 'w', format='webm', options=dict(_WEBM))
        rate = Fraction(fps).limit_denominator(1001)
        self._stream = self._file.add_stream('libvpx-vp9', rate=rate, options=dict(_VP9))
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = 'yuv420p'
        self._stream.codec_context.time_base = _MILLISECOND

    def write(self, frame: np.ndarray, seconds: float) -> None:
        picture = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format='bgr24')
        # Times must rise.
        self._last = max(round(1000 * seconds), self._last + 1)
        picture.pts, picture.time_base = self._last, _MILLISECOND
        self._file.mux(self._stream.encode(picture))

    def close(self) -> int:
        try:
            self._file.mux(self._stream.encode())
        finally:
            self._file.close()
        with self._av.open(str(self._path)) as file:
            return sum(packet.size > 0 for packet in file.demux(video=0))


class _OpenCVEncoder:
    def __init__(self, writer: cv2.VideoWriter, path: Path) -> None:
        self._writer, self._path = writer, path

    def write(self, frame: np.ndarray, seconds: float) -> None:
        self._writer.write(frame)

    def close(self) -> int:
        self._writer.release()
        return int(cv2.VideoCapture(str(self._path)).get(cv2.CAP_PROP_FRAME_COUNT))
