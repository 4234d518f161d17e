"""What a prediction on files can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casvit_mm.deploy.videos import WAIT
from casvit_mm.errors import InputError

__all__ = ['PredictOptions']


@dataclass(frozen=True)
class PredictOptions:
    """The options of ``casvit-mm predict``.

    Attributes:
        config: Config of a checkpoint; None takes the one that it holds.
        out_dir: Folder of results; ``work_dirs/predictions/<config or model>`` if None.
        score_thr: Minimum score of an object; 0.3 if None.
        max_dets: Raises the maximum of objects per image, where the config has a lower one.
        device: Such as ``'cpu'`` or ``'cuda:1'``; None takes a GPU where there is one.
        batch_size: Images that go through the model at once.
        pictures: Whether to draw, not only to write data.
        every: Take every n-th frame of a video.
        max_frames: Maximum number of frames of a video.
        track: ``'bytetrack'`` or ``'ocsort'`` follows the objects of a detector through videos.
        track_thr: Minimum score of an object that starts a track; None takes ``score_thr``.
        tile: Side in pixels of the tiles by which larger images are read; None reads them whole.
        overlap: Share of a tile that neighbours have in common; 0.2 if None.
        wait: Seconds that a stream is waited for that stalls or drops the connection.
        labels: Format of a labelling tool, which takes the predictions on image files back from the
            folder of that name in ``out_dir``; None writes none.
        cfg_options: Config entries to set, by dotted name.
        launcher: ``'pytorch'`` or ``'slurm'``, if one has started several processes that share the
            work.
    """

    config: str | None = None
    out_dir: str | None = None
    score_thr: float | None = None
    max_dets: int | None = None
    device: str | None = None
    batch_size: int = 1
    pictures: bool = True
    every: int = 1
    max_frames: int | None = None
    track: str | None = None
    track_thr: float | None = None
    tile: int | None = None
    overlap: float | None = None
    wait: float = WAIT
    labels: str | None = None
    cfg_options: dict[str, Any] | None = None
    launcher: str = 'none'

    def __post_init__(self) -> None:
        """Refuse numbers that cannot work.

        Raises:
            InputError: Naming the first.
        """
        for name in ('max_dets', 'batch_size', 'every', 'max_frames'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f'--{name.replace("_", "-")} must be at least 1, got {value}')
        if not self.wait > 0:
            raise InputError(f'--wait must be more than 0 seconds, got {self.wait:g}')
        if self.track_thr is not None and not self.track:
            raise InputError('--track-thr is for --track, which is not given')

    def folder(self, model: str) -> Path:
        """Return the folder of the results of a model."""
        return Path(self.out_dir or f'work_dirs/predictions/{Path(self.config or model).stem}')
