"""What training and evaluation share: a config, its data and its Runner."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from torch.utils.data import DataLoader

import casvit_mm.engine.divergence
import casvit_mm.engine.hooks
import casvit_mm.engine.scores  # noqa: F401  all three register hooks
from casvit_mm.config.editing import add_hook, add_import
from casvit_mm.config.options import merge_options
from casvit_mm.config.reading import read_config
from casvit_mm.config.type_checks import check_types
from casvit_mm.config.value_checks import check_values
from casvit_mm.datasets.description import dataset_name
from casvit_mm.engine.data_loading import guard
from casvit_mm.engine.resume import load_whole_model
from casvit_mm.engine.speed import ChannelsLastRunner
from casvit_mm.errors import escaped
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
    names = [Path(config).stem, *([dataset_name(data)] if data else [])]
    return f'work_dirs/{"_".join(names)}'


class _GuardedRunner(ChannelsLastRunner):
    """A Runner whose data workers do not outlive it, and whose loaders name damaged files."""

    @staticmethod
    def build_dataloader(*args: Any, **kwargs: Any) -> DataLoader:
        return guard(ChannelsLastRunner.build_dataloader(*args, **kwargs))


def build_runner(cfg: Config, notes: list[str]) -> Runner:
    """Build the Runner, and log what was changed for the user."""
    runner = _GuardedRunner.from_cfg(cfg)
    _shorten_terminal(runner.logger)
    for handler in runner.logger.handlers:
        handler.addFilter(_escape)
        if isinstance(handler, logging.FileHandler):
            _say_once_if_full(handler)
    for note in notes:
        runner.logger.info(note)
    return runner


def _say_once_if_full(handler: logging.FileHandler) -> None:
    """Say that a log file cannot be written by one message, not by a traceback for each line."""
    tell = handler.handleError
    told: list[OSError] = []

    def handle_error(record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            tell(record)
        elif not told:
            told.append(error)
            print(
                f'{handler.baseFilename}: {error.strerror}; it lacks what follows', file=sys.stderr
            )

    handler.handleError = handle_error  # type: ignore[method-assign]


def _escape(record: logging.LogRecord) -> bool:
    """Make visible what names of the data could tell a terminal; keep every record."""
    message = record.getMessage()
    text = escaped(message)
    if record.module == 'logger_hook':  # metrics of classes, on one line
        text = text.replace('\n', '\\n')
    if text != message:
        record.msg, record.args = text, ()
    return True


def _shorten_terminal(logger: logging.Logger) -> None:
    """Leave MMEngine's line for each parameter without weight decay to the log file."""
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(lambda record: 'paramwise_options --' not in record.getMessage())
