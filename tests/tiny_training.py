"""A real training of a few seconds, by our engine, of a model with one layer and no framework.

Run as a script: ``python tests/tiny_training.py WORK_DIR [--launcher pytorch] [KEY=VALUE ...]``
trains by the config below; the keys are entries of the config.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import torch
from helpers import ROOT, free_port
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS
from timm.layers import DropPath
from torch.utils.data import Dataset

from casvit_mm.cli import cli
from casvit_mm.engine import Randomness, Start, TrainOptions, setup, train, training
from casvit_mm.engine.interrupt import signal_received

CONFIG = """
default_scope = 'mmengine'
model = dict(type='TinyModel', backbone=dict(), seconds=0.05)
train_dataloader = dict(
    dataset=dict(type='TinyData'), sampler=dict(type='DefaultSampler', shuffle=True),
    batch_size=2, num_workers=1)
val_dataloader = dict(
    dataset=dict(type='TinyData'), sampler=dict(type='DefaultSampler', shuffle=False),
    batch_size=2, num_workers=1)
val_evaluator = dict(type='TinyMetric')
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3, val_interval=1)
val_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
param_scheduler = [dict(type='MultiStepLR', milestones=[2])]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2))
custom_hooks = [dict(type='TinyHook')]
env_cfg = dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
"""


@DATASETS.register_module()
class TinyData(Dataset):
    """Random vectors of 8 numbers, or fixed ones; one may be damaged, or kill its worker."""

    def __init__(self, size: int = 16, damaged: int = -1, deadly: int = -1, fixed: int = 0) -> None:
        self.metainfo = dict(classes=('one',))
        self.size, self.damaged, self.deadly, self.fixed = size, damaged, deadly, fixed

    def __len__(self) -> int:
        return self.size

    def get_data_info(self, index: int) -> dict:
        return dict(img_path=f'/photos/{index}.jpg')

    def __getitem__(self, index: int) -> dict:
        if index == self.damaged:
            raise AttributeError("'NoneType' object has no attribute 'shape'")
        if index == self.deadly:
            os.kill(os.getpid(), 9)
        numbers = torch.sin(torch.arange(8.0) * (index + 1)) if self.fixed else torch.rand(8)
        return dict(inputs=numbers, data_samples=torch.tensor(float(index % 2)))


@MODELS.register_module()
class TinyModel(BaseModel):
    """One layer, whose forward pass takes its time; images may be dropped before it."""

    def __init__(self, backbone: dict, seconds: float, drop: float = 0) -> None:
        super().__init__()
        self.backbone = torch.nn.Sequential(DropPath(drop)) if drop else torch.nn.Identity()
        self.layer = torch.nn.Linear(8, 1)
        self.seconds = seconds

    def forward(self, inputs: list, data_samples: list, mode: str = 'tensor'):
        time.sleep(self.seconds)
        predicted = self.layer(self.backbone(torch.stack(inputs)))[:, 0]
        if mode == 'loss':
            return dict(loss=(predicted - torch.stack(data_samples)).square().mean())
        return list(predicted)


@METRICS.register_module()
class TinyMetric(BaseMetric):
    """The mean prediction."""

    def process(self, data_batch: dict, data_samples: list) -> None:
        self.results += [float(value) for value in data_samples]

    def compute_metrics(self, results: list) -> dict:
        return dict(mean=sum(results) / len(results))


@HOOKS.register_module()
class TinyHook(Hook):
    """Long work of one process, before an iteration; with ``hold`` no other thread runs meanwhile.

    ``fail`` raises an error there instead. At iteration 40 all wait for a signal or the file
    ``gate``.
    """

    def __init__(
        self,
        rank: int = -1,
        seconds: float = 0,
        hold: bool = False,
        fail: str = '',
        gate: str = '',
    ) -> None:
        self.rank, self.seconds, self.hold, self.fail = rank, seconds, hold, fail
        self.gate = gate

    def before_train_iter(self, runner, batch_idx: int, data_batch: object = None) -> None:
        if self.gate and runner.iter == 40:
            while not (Path(self.gate).exists() or signal_received()):
                time.sleep(0.1)
        if runner.rank == self.rank and runner.iter == 3:
            if self.fail:
                raise RuntimeError(self.fail)
            if self.hold:
                ctypes.PyDLL(None).usleep(int(1e6 * self.seconds))
            else:
                time.sleep(self.seconds)


# Checks of a framework's model and data.
LEFT_OUT = ('_check_model', '_set_data', '_check_built_model')


def train_tiny(
    work_dir: Path,
    *,
    resume: str | None = None,
    launcher: str = 'none',
    save_minutes: float | None = None,
    **changes,
):
    """Train in this process and return the Runner."""
    work_dir.mkdir(parents=True, exist_ok=True)
    rank = os.environ.get('RANK', os.environ.get('SLURM_PROCID', ''))
    path = work_dir / f'tiny{rank}.py'
    path.write_text(CONFIG)
    edits = tuple(edit for edit in training.EDITS if edit.__name__ not in LEFT_OUT)
    options = TrainOptions(
        work_dir=str(work_dir),
        start=Start(resume=resume),
        randomness=Randomness(seed=0),
        save_minutes=save_minutes,
        cfg_options=changes,
        launcher=launcher,
    )
    with (
        patch.object(setup, 'task_name', lambda cfg: 'tiny'),
        patch.object(training, 'EDITS', edits),
    ):
        return train(str(path), options)


class TinyRun:
    """A training in processes of its own.

    Args:
        work_dir: Its work dir; what it prints goes there, into ``printed.txt``.
        arguments: As on the command line of this script.
        processes: More than one are started by our launcher.
        prefix: Command that runs the launcher.
        launcher: Arguments of the launcher.
        printed: File for what it prints, in the work dir.
        env: Further variables.
    """

    def __init__(
        self,
        work_dir: Path,
        *arguments: object,
        processes: int = 1,
        prefix: Sequence[str] = (),
        launcher: Sequence[str] = (),
        printed: str = 'printed.txt',
        **env: str,
    ) -> None:
        work_dir.mkdir(parents=True, exist_ok=True)
        self.work_dir, self._printed = work_dir, work_dir / printed
        command = [sys.executable, __file__, work_dir, *arguments]
        if processes > 1 or launcher:
            launcher = launcher or [f'--master-port={free_port()}']
            module = ['-m', 'casvit_mm.launch', f'--nproc-per-node={processes}', *launcher]
            command = [sys.executable, *module, *command[1:], '--launcher', 'pytorch']
        self.process = subprocess.Popen(
            [*prefix, *map(str, command)],
            cwd=ROOT,
            env={**os.environ, 'PYTHONPATH': str(ROOT), **env},
            stdout=self._printed.open('a'),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def printed(self) -> str:
        """All that the run and earlier ones in its work dir have printed."""
        return self._printed.read_text()

    @property
    def log(self) -> str:
        """What the log files of its work dir hold."""
        return ''.join(path.read_text() for path in sorted(self.work_dir.glob('*/*.log')))

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Wait until a text is printed or logged."""
        end = time.monotonic() + seconds
        while text not in self.printed + self.log:
            assert time.monotonic() < end, self.printed
            assert self.process.poll() is None, self.printed
            time.sleep(0.05)

    def wait(self, seconds: float = 60) -> int:
        """Wait for the end and return the status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'it still runs:\n{self.printed}') from None

    def processes(self) -> dict[int, str]:
        """Return the command lines of the processes of this run, workers too, by their ids."""
        found = {}
        for folder in Path('/proc').glob('[0-9]*'):
            try:
                command = (folder / 'cmdline').read_bytes().decode().split('\0')
            except OSError:  # it has just ended
                continue
            if str(self.work_dir) in command:
                found[int(folder.name)] = ' '.join(command)
        return found

    def trainings(self) -> list[int]:
        """Return the ids of the training processes that the launcher has started."""
        parents = {pid: _parent(pid) for pid in self.processes()}
        return sorted(pid for pid, parent in parents.items() if parent == self.process.pid)

    def kill(self) -> None:
        """Leave nothing of it running."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


def _parent(pid: int) -> int:
    try:
        return int(Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[1])
    except OSError:
        return 0


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('work_dir', type=Path)
    parser.add_argument('--launcher', default='none')
    parser.add_argument('--resume', action='store_true')
    parser.add_argument('--save-every', type=float)
    parser.add_argument('changes', nargs='*')
    args = parser.parse_intermixed_args()
    changes = dict(change.split('=', 1) for change in args.changes)
    train_tiny(
        args.work_dir,
        resume='auto' if args.resume else None,
        launcher=args.launcher,
        save_minutes=args.save_every,
        **{key: _value(value) for key, value in changes.items()},
    )


def _value(text: str) -> object:
    try:
        return float(text) if '.' in text else int(text)
    except ValueError:
        return text


if __name__ == '__main__':
    cli(_main)
