"""Trackers of experiments that a training logs to: ``--logger``, by MMEngine's back ends."""

from __future__ import annotations

import os
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mmengine.config import Config

from casvit_mm.config.forms import entries, type_name
from casvit_mm.config.type_checks import BACKEND_PACKAGES, check_package
from casvit_mm.engine.options import TrainOptions
from casvit_mm.errors import InputError

__all__ = ['LOGGERS', 'add_loggers']

# By the name of the package. Neptune cannot begin without a project of its service.
LOGGERS = {
    package: backend for backend, package in BACKEND_PACKAGES.items() if package != 'neptune'
}
_PROJECT = 'casvit_mm'


def add_loggers(cfg: Config, options: TrainOptions) -> list[str]:
    """Put ``--logger`` into a config, in place; the run has the name of its work dir there.

    Returns:
        What the log should say.

    Raises:
        InputError: If a logger is unknown, its package is absent, or it would ask for a key.
    """
    visualizer = cfg.get('visualizer') or dict(type='Visualizer')
    backends = entries(visualizer, 'vis_backends')
    present = {type_name(backend) for backend in backends}
    for name in options.loggers:
        if name not in LOGGERS:
            raise InputError(f'--logger {name} is none of {", ".join(LOGGERS)}')
        backend = dict(type=LOGGERS[name], **_named(name, Path(cfg.work_dir).name))
        check_package(f'--logger {name}', backend)
        _check_key(name)
        if LOGGERS[name] not in present:
            backends = [*backends, backend]
    if options.loggers:
        cfg.visualizer = dict(visualizer, vis_backends=backends)
    return [f'logged to {name} as well' for name in options.loggers]


def _named(logger: str, run: str) -> dict[str, Any]:
    """Return the arguments by which a back end names project and run."""
    by_logger: dict[str, dict[str, Any]] = {
        'aim': dict(init_kwargs=dict(experiment=run)),
        'clearml': dict(init_kwargs=dict(project_name=_PROJECT, task_name=run)),
        # Its own commits would be made of the user's repository.
        'dvclive': dict(init_kwargs=dict(save_dvc_exp=False)),
        'mlflow': dict(exp_name=_PROJECT, run_name=run),
        'wandb': dict(init_kwargs=dict(project=_PROJECT, name=run)),
    }
    return by_logger.get(logger, {})


def _check_key(logger: str) -> None:
    """Refuse a service that would ask for its key, or fail, when the training has begun."""
    if logger == 'wandb' and not _has_wandb_key():
        raise InputError(
            '--logger wandb: there is no key. Run wandb login, or set WANDB_MODE=offline to write '
            'into the work dir'
        )
    if logger == 'clearml' and not _has_clearml_key():
        raise InputError(
            '--logger clearml: there is no key. Run clearml-init, or set CLEARML_OFFLINE_MODE=1 to '
            'write into a local folder'
        )


def _has_wandb_key() -> bool:
    """Return whether wandb can begin without a question: by a key, or without its server."""
    given = os.environ
    if given.get('WANDB_API_KEY') or given.get('WANDB_MODE', 'online') != 'online':
        return True
    host = urlsplit(given.get('WANDB_BASE_URL', 'https://api.wandb.ai')).hostname or ''
    try:
        keys = netrc(given.get('NETRC', Path('~/.netrc').expanduser()))
    except (OSError, NetrcParseError):
        return False
    return host in keys.hosts


def _has_clearml_key() -> bool:
    given = os.environ
    if given.get('CLEARML_API_ACCESS_KEY') or given.get('CLEARML_OFFLINE_MODE'):
        return True
    return Path(given.get('CLEARML_CONFIG_FILE', '~/clearml.conf')).expanduser().is_file()
