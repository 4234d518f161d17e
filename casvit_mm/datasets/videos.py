"""Videos, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from casvit_mm.errors import InputError
from casvit_mm.io import pixel_limit

__all__ = ['VideoReader', 'VideoWriter']

# What is appended to the file's name, and the codec. MPEG-4 is in every OpenCV with FFmpeg, Motion
# JPEG in every OpenCV.
_CODECS = (('', 'mp4v'), ('.avi', 'MJPG'))


class VideoReader:
    """The frames of a video file.

    Args:
        path: The file.

    Attributes:
        fps: Frames per second; 25 where the file does not say.
        num_frames: Frames that the file's header promises; 0 where it does not say.

    Raises:
        InputError: If OpenCV cannot open the file, finds no video in it, or its frames have more
            pixels than :func:`casvit_mm.io.pixel_limit`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise InputError(
                f'{path} ({self.path.stat().st_size} bytes) cannot be opened as a video: it is cut '
                'short, damaged, no video, or in a codec that this OpenCV lacks. Converting it may '
                'help: ffmpeg -i IN -c:v libx264 out.mp4'
            )
        sides = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        width, height = (int(self._capture.get(side)) for side in sides)
        if width * height > pixel_limit():
            raise InputError(
                f'{path} has frames of {width} x {height}, more than {pixel_limit():,} pixels. '
                'Make it smaller'
            )
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps < float('inf') else 25.0
        self.num_frames = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def frames(self, every: int = 1) -> Iterator[tuple[int, float, np.ndarray]]:
        """Yield index, time in seconds and BGR pixels ``(H, W, 3)`` of every ``every``-th frame.

        Raises:
            InputError: If there is not one frame.
        """
        index = 0
        while self._capture.grab():
            if index % every == 0:
                milliseconds = self._capture.get(cv2.CAP_PROP_POS_MSEC)
                decoded, frame = self._capture.retrieve()
                if not decoded:
                    break
                # Some containers carry no times.
                seconds = milliseconds / 1000 if milliseconds > 0 else index / self.fps
                yield index, seconds, frame
            index += 1
        self._capture.release()
        if index == 0:
            raise InputError(f'{self.path} holds no frame that can be decoded')


class VideoWriter:
    """An annotated video, in the best codec that this OpenCV can write.

    Args:
        path: File to write, ending in ``.mp4``; without FFmpeg ``.avi`` is appended.
        fps: Frames per second.

    Attributes:
        path: The file that is written, once there is a frame.
        num_frames: Frames written.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path = path
        self.num_frames = 0
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: np.ndarray) -> None:
        """Append BGR pixels ``(H, W, 3)``, all frames of one size.

        Raises:
            OSError: If no codec can be opened for writing.
        """
        if self._writer is None:
            self._writer = self._open(frame.shape[1], frame.shape[0])
        self._writer.write(frame)
        self.num_frames += 1

    def _open(self, width: int, height: int) -> cv2.VideoWriter:
        for suffix, codec in _CODECS:
            path = self.path.with_name(self.path.name + suffix)
            fourcc = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(path), fourcc, self._fps, (width, height))
            if writer.isOpened():
                self.path = path
                return writer
        raise OSError(
            f'{self.path} cannot be opened: the disk is full, or this OpenCV writes neither '
            f'{" nor ".join(codec for _, codec in _CODECS)}'
        )

    def close(self) -> None:
        """Finish the file.

        Raises:
            OSError: If fewer frames are in it than were written, as when the disk is full.
        """
        if self._writer is None:
            return
        self._writer.release()
        capture = cv2.VideoCapture(str(self.path))
        stored = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if stored < self.num_frames:
            raise OSError(f'{self.path} holds {stored} of {self.num_frames} frames; disk full?')
