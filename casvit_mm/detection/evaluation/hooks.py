"""Pictures of every test image, drawn by the process that evaluates it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib import rc_context
from mmengine.dist import utils
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from casvit_mm.datasets.images import read_image
from casvit_mm.datasets.picture_hooks import PicturesHook
from casvit_mm.errors import plain_name

__all__ = ['DetectionPicturesHook']


@contextmanager
def _as_main_process() -> Iterator[None]:
    original = utils.is_main_process
    utils.is_main_process = lambda group=None: True
    try:
        yield
    finally:
        utils.is_main_process = original


@HOOKS.register_module()
class DetectionPicturesHook(PicturesHook):
    """Draw truth and detections of every test image side by side, by mmdet's visualizer.

    MMEngine's visualizer works on rank 0 alone, so with N processes only every Nth picture would
    be drawn. Each picture goes to a file of its own, so the ranks cannot disturb each other.

    Args:
        out_dir: As of :class:`casvit_mm.datasets.picture_hooks.PicturesHook`.
        root: Likewise.
        score_thr: Minimum score of a detection that is drawn.
    """

    def __init__(self, out_dir: str, root: str | None = None, score_thr: float = 0.3) -> None:
        super().__init__(out_dir, root)
        self.score_thr = score_thr

    def before_test(self, runner: Runner) -> None:
        """Refuse names that collide, and give every rank the class names, which rank 0 has."""
        super().before_test(runner)
        self._visualizer = runner.visualizer
        meta = dict(runner.test_dataloader.dataset.metainfo)
        meta['classes'] = tuple(plain_name(name, 40) for name in meta['classes'])
        with _as_main_process():
            self._visualizer.dataset_meta = meta

    def draw(self, sample: Any, meta: dict[str, Any], title: str) -> np.ndarray:
        image = np.ascontiguousarray(read_image(sample.img_path)[..., ::-1])
        # A class may have dollar signs in its name, which matplotlib would take for a formula.
        with _as_main_process(), rc_context({'text.parse_math': False}):
            self._visualizer.add_datasample(
                title, image, sample, show=False, pred_score_thr=self.score_thr
            )
            picture: np.ndarray = self._visualizer.get_image()
        return picture[..., ::-1]
