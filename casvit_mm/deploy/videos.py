"""Videos, frame by frame, and streams that are connected again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path

import numpy as np

from casvit_mm.deploy.captures import Capture, LostError, Pixels, is_address, open_capture, shown
from casvit_mm.errors import InputError
from casvit_mm.io import pixel_limit

__all__ = ['WAIT', 'VideoReader', 'is_video']

WAIT = 60.0  # seconds that a lost stream is waited for

_SUFFIXES = {
    *('.avi', '.flv', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.mts', '.ogv', '.ts'),
    *('.webm', '.wmv'),
}
_PAUSES = (0.2, 1.0, 2.0, 5.0)  # seconds before the first attempts to connect again, and all later


def is_video(path: str | Path) -> bool:
    """Return whether a file is a video, by its suffix."""
    return os.path.splitext(path)[1].lower() in _SUFFIXES


class VideoReader:
    """The frames of a video file, a stream or a webcam.

    A stream that stalls or drops the connection is connected again. One that has an end, as a file
    behind an address, goes on where it was; of another one the frames in between are lost. A stream
    ends where its server says so; where it was closed and does not come back, or begins again.

    Args:
        path: The file; an address (``rtsp://``, ``http://``), or the number of a webcam.
        wait: Seconds without a new frame after which a stream is given up.
        report: Is told when a stream is lost, in a sentence.

    Attributes:
        fps: Frames per second; 25 where the file does not say.
        num_frames: Frames that the file's header promises; 0 where it does not say.
        damaged: Frames so far that could not be decoded.
        reconnected: How often a stream was connected again.
        lost_frames: Frames so far that went by in the meantime, by the time that it took.

    Raises:
        InputError: If it cannot be opened, holds no video, or its frames have more pixels than
            :func:`casvit_mm.io.pixel_limit`.
    """

    def __init__(
        self,
        path: str | Path | int,
        wait: float = WAIT,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self.path = path
        self.damaged = self.reconnected = self.lost_frames = 0
        self._wait, self._report = wait, report
        self._capture = self._open()
        self.fps = self._capture.fps
        self.num_frames = self._capture.num_frames
        self._read = 0  # frames, damaged ones as well
        self._seconds = -1.0  # of the last one
        self._first: np.ndarray | None = None  # picture of a stream

    def _open(self) -> Capture:
        capture = open_capture(self.path, self._wait)
        self._check_size(*capture.size)
        return capture

    def _check_size(self, width: int, height: int) -> None:
        if width * height > pixel_limit():
            raise InputError(
                f'{shown(self.path)} has frames of {width} x {height}, more than '
                f'{pixel_limit():,} pixels. Make it smaller'
            )

    def frames(self, every: int = 1) -> Iterator[tuple[int, float, np.ndarray]]:
        """Yield index, time in seconds and BGR pixels ``(H, W, 3)`` of every ``every``-th frame.

        Times begin at 0 and rise. Damaged frames are counted and left out.

        Raises:
            InputError: If there is not one frame, or a stream was lost and did not come back.
        """
        seen = 0
        for seconds, decode in self._connected():
            self._seconds = max(seconds, self._seconds + 1e-3)
            index = self._read
            self._read += 1
            if index % every:
                continue
            pixels = decode()
            if pixels is None:
                self.damaged += 1
                continue
            self._check_size(*pixels.shape[1::-1])
            seen += 1
            yield index, self._seconds, pixels
        if not seen:
            raise InputError(f'{shown(self.path)} holds no frame that can be decoded')

    def _connected(self) -> Iterator[tuple[float, Pixels]]:
        """Yield times in seconds and pixels of all frames, over as many connections as it takes."""
        offset, skip = 0.0, 0
        came = time.monotonic()  # the last frame
        lost: LostError | None = None
        deadline = 0.0
        while True:
            try:
                for number, (seconds, decode) in enumerate(self._capture.frames()):
                    if number < skip:
                        continue
                    if number == 0 and is_address(self.path) and self._begins_again(decode, lost):
                        return
                    now = time.monotonic()
                    if lost and not skip:
                        offset = self._seconds + now - came
                        self.lost_frames += max(0, round((now - came) * self.fps) - 1)
                    lost, came = None, now
                    yield offset + (number / self.fps if seconds is None else seconds), decode
                if is_address(self.path) and self.ends_early():
                    raise LostError('it ended before its end')
                return
            except LostError as error:
                if lost is None:
                    lost, deadline = error, time.monotonic() + self._wait
                    self._tell(f'was lost: {error}. It is waited for up to {self._wait:g} s')
                if not self._connect_again(deadline, lost):
                    return
                has_end = self._capture.num_frames or self._capture.duration
                skip = self._read if has_end else 0

    def _begins_again(self, decode: Pixels, lost: LostError | None) -> bool:
        """Return whether a stream that was closed has no more to show than from its beginning.

        Two pictures of a camera are never the same to the last bit.
        """
        pixels = decode()
        if self._first is None or pixels is None:
            self._first = pixels
        elif lost and lost.closed and np.array_equal(self._first, pixels):
            self.reconnected -= 1
            self._tell('begins again from its first frame: it is at its end')
            return True
        return False

    def _tell(self, what: str) -> None:
        if self._report:
            self._report(f'{shown(self.path)}, after {self._read} frames, {what}')

    def _connect_again(self, deadline: float, lost: LostError) -> bool:
        """Open the stream again; return whether it is there.

        Raises:
            InputError: If it is not there before the deadline, and did not close the connection.
        """
        for pause in chain(_PAUSES, repeat(_PAUSES[-1])):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(pause, left))
            try:
                self._capture = self._open()
            except InputError:
                continue
            self.reconnected += 1
            return True
        if lost.closed and not self.ends_early():
            self._tell('did not come back: it is at its end')
            return False
        raise InputError(
            f'{shown(self.path)} was lost after {self._read} frames and did not come back within '
            f'{self._wait:g} s'
        )

    def ends_early(self) -> bool:
        """Return whether, after all frames, much of what the header promised was missing."""
        if self.num_frames:
            return self._read < 0.95 * self.num_frames - 1
        # Some containers estimate; a last frame may be shown for long.
        return self._seconds + 2 < 0.9 * self._capture.duration
