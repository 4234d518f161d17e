"""First losses of a training by 1, 2, 4 processes with the same images in every iteration.

python -m casvit_mm.benchmark.equal_losses CONFIG --data dataset.yaml --images 4
python -m casvit_mm.benchmark.equal_losses CONFIG --data dataset.yaml --cfg-options KEY=VALUE ...

A loss is the mean over the processes; seed 0, no pretrained weights, norms with fixed statistics,
on the CPU.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.dist import all_reduce, get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm

from casvit_mm.cli import cli
from casvit_mm.config.options import ConfigOptions
from casvit_mm.engine import Randomness, Start, TrainOptions, train
from casvit_mm.errors import InputError
from casvit_mm.io import write_json

__all__ = ['FirstLosses', 'main', 'measure']


@HOOKS.register_module()
class FirstLosses(Hook):
    """Notes the losses of the first iterations, and ends the training.

    Args:
        path: File for them.
        iterations: How many.
    """

    def __init__(self, path: str, iterations: int) -> None:
        self.path, self.iterations = path, iterations
        self.losses: list[float] = []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Fix the statistics of norms, which every process would gather of its own images."""
        for module in runner.model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Note the mean of the loss over the processes."""
        loss = outputs['loss'].detach().double().clone()
        all_reduce(loss, op='mean')
        self.losses.append(float(loss))
        if len(self.losses) == self.iterations:
            if get_rank() == 0:
                Path(self.path).write_text(json.dumps(self.losses))
            sys.exit(0)


def measure(args: argparse.Namespace, processes: int, folder: Path) -> list[float]:
    """Return the first losses of a training by some processes.

    Raises:
        InputError: If the training fails; what it printed says why.
    """
    path = folder / f'{processes}.json'
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    fork = multiprocessing.get_context('fork')  # all is imported already
    parts = (args, processes, port, path)
    started = [fork.Process(target=_train, args=(*parts, rank)) for rank in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    if not path.exists():
        ended = ', '.join(str(process.exitcode) for process in started)
        raise InputError(f'{args.config} by {processes} processes has failed, with status {ended}')
    return json.loads(path.read_text())


def _train(args: argparse.Namespace, processes: int, port: int, path: Path, rank: int) -> None:
    """Train in this process, one of several, and write the losses."""
    os.environ.update(
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
        RANK=str(rank),
        WORLD_SIZE=str(processes),
        LOCAL_RANK=str(rank),
        LOCAL_WORLD_SIZE=str(processes),
    )
    changes = {
        'train_dataloader.batch_size': args.images // processes,
        'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False,
        'default_hooks.losses': dict(
            type='FirstLosses', path=str(path), iterations=args.iterations
        ),
    }
    options = TrainOptions(
        data=args.data,
        work_dir=str(path.with_suffix('')),
        start=Start(from_scratch=True),
        randomness=Randomness(seed=0),
        cfg_options={**changes, **(args.cfg_options or {})},
        launcher='pytorch',
    )
    cli(partial(train, args.config, options))


def _table(losses: dict[int, list[float]], numbers: Sequence[int]) -> list[str]:
    """Return a line for each number of processes, with the largest difference from the first."""
    first = losses[numbers[0]]
    lines = []
    for number in numbers:
        apart = [abs(a - b) / abs(b) for a, b in zip(losses[number], first, strict=True)]
        shown = ' '.join(f'{loss:.6f}' for loss in losses[number])
        lines.append(
            f'{number} processes: {shown}, apart by {apart[0]:.1e} and then {max(apart):.1e}'
        )
    return lines


def main() -> None:
    """Train by each number of processes, print the losses and their difference."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', metavar='CONFIG')
    parser.add_argument('--data', metavar='YAML')
    parser.add_argument('--images', type=int, default=4, metavar='N', help='in an iteration (4)')
    parser.add_argument('--iterations', type=int, default=3, metavar='N', help='to do (3)')
    parser.add_argument('--processes', type=int, nargs='+', default=[1, 2, 4], metavar='N')
    parser.add_argument('--out', metavar='JSON', help='write the losses')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE')
    args = parser.parse_args()
    if any(args.images % number for number in args.processes):
        raise InputError(f'--images {args.images} must be a multiple of all of {args.processes}')
    os.environ['CUDA_VISIBLE_DEVICES'] = '-1'
    folder = tempfile.mkdtemp()  # a TemporaryDirectory would go with the first forked process
    try:
        losses = {number: measure(args, number, Path(folder)) for number in args.processes}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print('\n'.join(_table(losses, args.processes)))
    if args.out:
        write_json(args.out, dict(config=args.config, losses=losses))


if __name__ == '__main__':
    cli(main)
