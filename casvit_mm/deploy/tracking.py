"""Objects of a video followed from frame to frame, by the library ``trackers``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from casvit_mm.deploy.base import optional
from casvit_mm.deploy.results import Detections
from casvit_mm.errors import InputError

__all__ = ['TRACKERS', 'Tracker', 'check_tracker']

# By the names of the library: https://arxiv.org/abs/2110.06864, https://arxiv.org/abs/2203.14360
TRACKERS = ('bytetrack', 'ocsort')


def check_tracker(name: str) -> None:
    """Check that a tracker can run here.

    Raises:
        InputError: If it is unknown, ``trackers`` is not installed, or NumPy is older than 2.
    """
    if name not in TRACKERS:
        raise InputError(f'tracker {name!r} is unknown; choose {" or ".join(TRACKERS)}')
    if int(np.__version__.split('.')[0]) < 2:
        raise InputError(
            f'tracking needs the package trackers, which wants NumPy 2; here is {np.__version__}, '
            "which upstream's mm packages (STACK=openmmlab) need. Track in an installation with "
            'STACK=onedl, or export the model and track with the exported file, which needs no mm '
            "package: pip install --no-deps '.[deploy]' in an environment with trackers"
        )
    optional('trackers', 'tracking')


class Tracker:
    """Gives each object of a video a number that it keeps from frame to frame.

    Objects are joined by place and motion, whatever their class. An object has no number before it
    was seen in two frames (ByteTrack) or three (OC-SORT), and keeps it while it is out of sight for
    up to a second.

    Args:
        name: One of :data:`TRACKERS`.
        fps: Frames per second that it will see.
        score_thr: Minimum score of an object that starts a track. Weaker ones only continue one
            (ByteTrack); those that do not are left out.

    Raises:
        InputError: As :func:`check_tracker`, or if ``score_thr`` is not from 0 to 1.
    """

    def __init__(self, name: str, fps: float, score_thr: float) -> None:
        check_tracker(name)
        if not 0 <= score_thr <= 1:
            raise InputError(f'--track-thr must be from 0 to 1, got {score_thr:g}')
        self._score_thr = score_thr
        self._supervision = optional('supervision', 'tracking')
        package = optional('trackers', 'tracking')
        if name == 'bytetrack':
            self._tracker = package.ByteTrackTracker(
                frame_rate=fps,
                track_activation_threshold=score_thr,
                high_conf_det_threshold=score_thr,
            )
        else:
            self._tracker = package.OCSORTTracker(frame_rate=fps, high_conf_det_threshold=score_thr)

    def __call__(self, found: Detections) -> Detections:
        """Return the objects of the next frame, with their numbers as ``tracks``.

        Args:
            found: What the model found in it; its ``time``, if known, tells how far things move.
        """
        objects = self._supervision.Detections(
            xyxy=found.boxes,
            confidence=found.scores,
            class_id=found.labels,
            data={'index': np.arange(len(found.boxes))},
        )
        tracked: Any = self._tracker.update(objects, timestamp=found.time)
        tracks = np.zeros(len(found.boxes), np.int64)
        if len(tracked):  # in an order of its own, numbered from 0, -1 for none
            tracks[tracked.data['index']] = tracked.tracker_id + 1
        kept = (found.scores >= self._score_thr) | (tracks > 0)
        return replace(found, tracks=tracks).select(kept)
