"""What training and evaluation share: a config, its data and its Runner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader

import casvit_mm.engine.divergence
import casvit_mm.engine.hooks
import casvit_mm.engine.scores  # noqa: F401  all three register hooks
from casvit_mm.config.editing import add_hook, add_import
from casvit_mm.config.options import merge_options
from casvit_mm.config.paths import config_name
from casvit_mm.config.reading import read_config
from casvit_mm.config.type_checks import check_types
from casvit_mm.config.value_checks import check_values
from casvit_mm.console import step
from casvit_mm.datasets.description import dataset_name
from casvit_mm.engine.data_loading import guard
from casvit_mm.engine.resume import load_whole_model
from casvit_mm.engine.run_log import log_to_console
from casvit_mm.engine.speed import ChannelsLastRunner
from casvit_mm.task import task_name

__all__ = ['build_runner', 'default_work_dir', 'load_config']

# Modules that register what training puts into a config.
_REGISTERING = (
    'casvit_mm.engine.hooks',
    'casvit_mm.engine.divergence',
    'casvit_mm.engine.resume',
    'casvit_mm.engine.scores',
    'casvit_mm.engine.finetune',
    'casvit_mm.engine.layer_decay',
    'casvit_mm.engine.speed',
)


def load_config(
    path: str | Config,
    splits: tuple[str, ...],
    cfg_options: dict | None,
    launcher: str,
    work_dir: str | None,
    data: str | None = None,
) -> Config:
    """Read and check a config, and put the options on top that training and evaluation share.

    Args:
        path: Config file, or what it holds.
        splits: Splits whose datasets and loops will be built.
        cfg_options: Config entries to set, by dotted name.
        launcher: ``'none'``, ``'pytorch'`` or ``'slurm'``.
        work_dir: Folder for logs and checkpoints; that of the config, or one by its name and that
            of the data, if None.
        data: The user's dataset, if there is one.

    Raises:
        InputError: If the config cannot be read, or holds what cannot work.
    """
    cfg = path if isinstance(path, Config) else read_config(path)
    merge_options(cfg, cfg_options)
    task_name(cfg)  # refuses a scope that is of no task
    check_values(cfg)
    check_types(cfg, splits)
    load_whole_model(cfg)
    cfg.launcher = launcher
    cfg.work_dir = work_dir or cfg.get('work_dir') or default_work_dir(cfg.filename, data)
    # Named in the config, so that its copy in the work dir also runs in mmdet's own tools.
    for module in _REGISTERING:
        add_import(cfg, module)
    cfg.default_hooks = cfg.get('default_hooks') or {}
    for hook in ('PlainCheckpointHook', 'HostStatsHook', 'DivergenceHook'):
        add_hook(cfg, hook)
    return cfg


def default_work_dir(config: str, data: str | None = None) -> str:
    """Return the folder of a run that names none: by its config and, if given, its data."""
    names = [Path(config_name(config)).stem, *([dataset_name(data)] if data else [])]
    return f'work_dirs/{"_".join(names)}'


class _GuardedRunner(ChannelsLastRunner):
    """A Runner whose data workers do not outlive it, whose loaders name damaged files.

    Its log goes to a file as a whole, and to the console as far as it is ours.
    """

    @staticmethod
    def build_dataloader(dataloader: Any, *args: Any, **kwargs: Any) -> DataLoader:
        return guard(ChannelsLastRunner.build_dataloader(dataloader, *args, **kwargs))

    def build_train_loop(self, loop: Any) -> BaseLoop:
        with step('opening the data of train'):
            return super().build_train_loop(loop)

    def build_val_loop(self, loop: Any) -> BaseLoop:
        with step('opening the data of val'):
            return super().build_val_loop(loop)

    def build_test_loop(self, loop: Any) -> BaseLoop:
        with step('opening the data of test'):
            return super().build_test_loop(loop)

    def load_or_resume(self) -> None:
        if self._load_from is None:
            return super().load_or_resume()
        with step(f'loading {self._load_from}'):
            return super().load_or_resume()

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        log_to_console(logger)
        return logger


def build_runner(cfg: Config, notes: list[str]) -> Runner:
    """Build the Runner, and log what was changed for the user."""
    with step('building the model'):
        runner = _GuardedRunner.from_cfg(cfg)
    for note in notes:
        runner.logger.info(note)
    return runner
