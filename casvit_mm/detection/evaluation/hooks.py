"""Pictures of every test image, drawn by the process that evaluates it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from matplotlib import rc_context
from mmdet.engine.hooks import DetVisualizationHook
from mmengine.dist import utils
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from casvit_mm.errors import plain_name

__all__ = ['AllRanksVisualizationHook']


@contextmanager
def _as_main_process() -> Iterator[None]:
    original = utils.is_main_process
    utils.is_main_process = lambda group=None: True
    try:
        yield
    finally:
        utils.is_main_process = original


@HOOKS.register_module()
class AllRanksVisualizationHook(DetVisualizationHook):
    """mmdet's hook, drawing on every rank.

    MMEngine's visualizer works on rank 0 alone, so with N processes only every Nth picture would
    be drawn. Each picture goes to a file of its own, so the ranks cannot disturb each other.
    """

    def before_test(self, runner: Runner) -> None:
        """Give every rank the class names, which MMEngine gives to rank 0."""
        # Another Runner of this process may have the latest visualizer, of another task.
        self._visualizer = runner.visualizer
        meta = dict(runner.test_dataloader.dataset.metainfo)
        meta['classes'] = tuple(plain_name(name, 40) for name in meta['classes'])
        with _as_main_process():
            self._visualizer.dataset_meta = meta

    def after_test_iter(self, *args: Any, **kwargs: Any) -> None:
        """Draw truth and predictions of one batch to ``test_out_dir``."""
        # A class may have dollar signs in its name, which matplotlib would take for a formula.
        with _as_main_process(), rc_context({'text.parse_math': False}):
            super().after_test_iter(*args, **kwargs)
