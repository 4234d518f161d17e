"""Videos, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from casvit_mm.deploy.images import quiet_opencv
from casvit_mm.errors import InputError
from casvit_mm.io import pixel_limit

__all__ = ['VideoReader', 'is_video']

_SUFFIXES = {
    *('.avi', '.flv', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.mts', '.ogv', '.ts'),
    *('.webm', '.wmv'),
}


def is_video(path: str | Path) -> bool:
    """Return whether a file is a video, by its suffix."""
    return Path(path).suffix.lower() in _SUFFIXES


class VideoReader:
    """The frames of a video file, a stream or a webcam.

    Args:
        path: The file; an address (``rtsp://``, ``http://``), or the number of a webcam, as this
            OpenCV opens it.

    Attributes:
        fps: Frames per second; 25 where the file does not say.
        num_frames: Frames that the file's header promises; 0 where it does not say.

    Raises:
        InputError: If OpenCV cannot open it, finds no video in it, or its frames have more
            pixels than :func:`casvit_mm.io.pixel_limit`.
    """

    def __init__(self, path: str | Path | int) -> None:
        self.path = path
        with quiet_opencv():
            self._capture = cv2.VideoCapture(path if isinstance(path, int) else str(path))
        if not self._capture.isOpened():
            raise _not_opened(path)
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


def _not_opened(path: str | Path | int) -> InputError:
    if isinstance(path, int):
        return InputError(f'webcam {path} cannot be opened: it is absent, or in use')
    if '://' in str(path):
        return InputError(f'{path} cannot be opened as a stream: no answer, or no video behind it')
    if not Path(path).is_file():
        return InputError(f'{path} does not exist')
    return InputError(
        f'{path} ({Path(path).stat().st_size} bytes) cannot be opened as a video: it is cut short, '
        'damaged, no video, or in a codec that this OpenCV lacks. Converting it may help: '
        'ffmpeg -i IN -c:v libx264 out.mp4'
    )
