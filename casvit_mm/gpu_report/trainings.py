"""The steps that run ``casvit-mm train``: reading and computing, two processes, figures."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from casvit_mm.datasets.shapes import generate_shape_labels, generate_shapes
from casvit_mm.distributed.processes import PARENT
from casvit_mm.errors import InputError
from casvit_mm.gpu_report.plan import RECIPES
from casvit_mm.gpu_report.task import Task

__all__ = ['profile', 'train_to_figures', 'two_processes']

_DETECTOR = 'casvit_mm::retinanet_casvit_xs_light.py'
_SEGMENTOR = 'casvit_mm::semfpn_casvit_xs_light.py'
_MAX_WORKERS = 8


def profile(task: Task) -> dict[str, Any]:
    """Time the data loader and the training step, with one worker and with as many as pay."""
    folder = Path(task.folder)
    data = task.data.get('bccd') or _shapes(task, generate_shapes)
    most = 2 if task.smoke else min(_MAX_WORKERS, os.cpu_count() or 1)
    rows, commands = [], []
    for workers in dict.fromkeys((1, most)):
        options = [f'train_dataloader.num_workers={workers}']
        found, command = _profiled(task, _DETECTOR, data, folder / f'workers_{workers}', options)
        rows.append(dict(workers=workers, **found))
        commands.append(command)
    made = [] if 'bccd' in task.data else ['The images are generated ones: give --bccd for photos.']
    return dict(kind='loader', rows=rows, commands=commands, said=made)


def two_processes(task: Task) -> dict[str, Any]:
    """Time the training step of a segmentor with synchronised norms in one process and in two."""
    data = _shapes(task, generate_shape_labels)
    rows, commands = [], []
    for processes in (1, 2):
        work_dir = Path(task.folder, f'processes_{processes}')
        found, command = _profiled(task, _SEGMENTOR, data, work_dir, [], processes)
        rows.append(found)
        commands.append(command)
    return dict(kind='processes', rows=rows, commands=commands)


def train_to_figures(task: Task) -> dict[str, Any]:
    """Train by the recipe of the results page with ``--amp``, and evaluate as it did.

    A run that was cut goes on from its last checkpoint.
    """
    name = task.plan.data
    assert name is not None
    recipe, work_dir, data = RECIPES[name], Path(task.folder, 'work'), task.data[name]
    config = f'casvit_mm::{recipe.config}'
    train = ['train', config, '--from-scratch', '--data', data, '--seed', '0', '--work-dir']
    train += [str(work_dir), '--resume', *recipe.options]
    if not task.smoke:  # float16 needs a GPU
        train.append('--amp')
    changed = [*recipe.changed]
    if task.smoke:
        changed += ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
    train += ['--cfg-options', *changed] if changed else []
    commands = [_run(train)]
    best = max(work_dir.glob('best_*.pth'), key=lambda path: path.stat().st_mtime, default=None)
    if best is None:
        raise InputError(f'{work_dir} holds no best_*.pth: no validation has found anything')
    out = Path(task.folder, 'metrics.json')
    test = ['test', config, str(best), '--data', data, '--out', str(out)]
    test += ['--work-dir', str(Path(task.folder, 'test'))]
    commands.append(_run(test))
    metrics = json.loads(out.read_text())
    figures = [
        dict(metric=key, measured=metrics.get(key), published=value)
        for key, value in recipe.figures.items()
    ]
    return dict(kind='figures', dataset=name, split=recipe.split, rows=figures, commands=commands)


def _shapes(task: Task, generate: Any) -> str:
    """Return the description of a generated dataset, as large as micrographs are."""
    sizes, side = ((8, 4, 4), 64) if task.smoke else ((64, 8, 8), 640)
    return str(generate(Path(task.folder, 'data'), sizes=sizes, side=side))


def _profiled(
    task: Task,
    config: str,
    data: str,
    work_dir: Path,
    options: Sequence[str],
    processes: int = 1,
) -> tuple[dict[str, Any], str]:
    """Return what ``--profile-data`` measures, and the command."""
    words = ['train', config, '--from-scratch', '--data', data, '--work-dir', str(work_dir)]
    words += ['--profile-data', '1'] if task.smoke else ['--profile-data', '50', '--amp']
    options = [*options, *(['train_dataloader.batch_size=2'] if task.smoke else [])]
    words += ['--cfg-options', *options] if options else []
    command = _run(words, processes)
    return json.loads((work_dir / 'profile/profile.json').read_text()), command


def _run(words: Sequence[str], processes: int = 1) -> str:
    """Run a job of ours, and return the command as a user would type it.

    Raises:
        InputError: If it fails; what it printed stands before.
    """
    typed = ['casvit-mm', *words]
    launcher: list[str] = []
    if processes > 1:
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            port = probe.getsockname()[1]
        launcher = [
            'casvit_mm.launch',
            f'--nproc-per-node={processes}',
            f'--master-port={port}',
            '-m',
        ]
        words = [*words, '--launcher', 'pytorch']
        typed = ['torchrun', f'--nproc-per-node={processes}', '-m', 'casvit_mm', *words]
    print(f'$ {shlex.join(typed)}', flush=True)
    command = [sys.executable, '-m', *launcher, 'casvit_mm', *words]
    status = subprocess.run(command, env={**os.environ, PARENT: str(os.getpid())}).returncode
    if status:
        raise InputError(f'{shlex.join(typed)} ended with status {status}, see above')
    return shlex.join(typed)
