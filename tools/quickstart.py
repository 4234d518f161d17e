#!/usr/bin/env python
"""From nothing to a trained model in three minutes on a CPU, by the commands a user would type.

python tools/quickstart.py
python tools/quickstart.py --task segmentation

Generates labelled images, trains, evaluates on held-out images, and leaves metrics and pictures
in work_dirs/quickstart or work_dirs/quickstart_segmentation. What is there is not done again.
"""

import argparse
import json
import math
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from pkgutil import resolve_name
from typing import NamedTuple

from casvit_mm.cli import cli
from casvit_mm.distributed.processes import PARENT
from casvit_mm.io import check_writable, write_json

ROOT = Path(__file__).resolve().parents[1]


class Task(NamedTuple):
    """What differs between the tasks; functions by name, which --help need not import."""

    config: str
    work_dir: str
    generate: str
    show: str
    pictures: str


TASKS = {
    'detection': Task(
        'configs/maskrcnn_casvit_xs_shapes.py',
        'work_dirs/quickstart',
        'casvit_mm.datasets.shapes:generate_shapes',
        'casvit_mm.detection.evaluation.tables:print_metrics',
        'truth left and predictions right',
    ),
    'segmentation': Task(
        'configs/semfpn_casvit_xs_shapes.py',
        'work_dirs/quickstart_segmentation',
        'casvit_mm.datasets.shapes:generate_shape_labels',
        'casvit_mm.segmentation.evaluation.tables:print_metrics',
        'image, truth and prediction',
    ),
}


def run(command: str) -> None:
    """Show a command, and run it from the repository's root; if it fails, we end too."""
    print(f'\n$ {command}', flush=True)
    done = subprocess.run(
        [sys.executable, *shlex.split(command)[1:]],
        cwd=ROOT,
        env={**os.environ, PARENT: str(os.getpid())},
    )
    if done.returncode:
        sys.exit(done.returncode)


def main() -> None:
    """Generate, train, evaluate, and say where everything is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--task', choices=TASKS, default='detection')
    parser.add_argument('--work-dir', metavar='DIR')
    args = parser.parse_args()
    task = TASKS[args.task]
    work_dir = ROOT / (args.work_dir or task.work_dir)
    check_writable({}, {'--work-dir': str(work_dir)})
    file = work_dir / 'metrics.json'
    shown = work_dir.relative_to(ROOT) if work_dir.is_relative_to(ROOT) else work_dir
    new = not file.is_file()
    if new:
        start = time.perf_counter()
        resolve_name(task.generate)(work_dir / 'data')
        train_and_test(task.config, work_dir, shlex.quote(str(shown)))
        metrics = json.loads((work_dir / 'test.json').read_text())
        write_json(file, {**metrics, 'seconds': time.perf_counter() - start})

    metrics = json.loads(file.read_text())
    seconds = metrics.pop('seconds')
    if not new:  # else the evaluation has just shown them
        numbers = {k: v for k, v in metrics.items() if not isinstance(v, str)}
        resolve_name(task.show)(
            {k: math.nan if v is None else v for k, v in numbers.items()},
            '\nquickstart, on images it did not train on',
        )
    print(f'\n{seconds:.0f} seconds. Metrics: {shown}/metrics.json')
    print(f'Pictures, {task.pictures}: {shown}/pictures/')
    print(f'Loss and score over time: {shown}/loss_curve.png')
    print(
        f'A custom dataset goes in as {shown}/data/dataset.yaml shows. To run anew: rm -r {shown}'
    )


def train_and_test(config: str, work_dir: Path, shown: str) -> None:
    """Train on the generated images, evaluate the best checkpoint, and draw the loss."""
    run(
        f'python tools/train.py {config} --from-scratch --data {shown}/data/dataset.yaml '
        f'--work-dir {shown} --seed 0 --resume'
    )
    best = max(work_dir.glob('best_*.pth'), key=lambda path: path.stat().st_mtime).name
    run(
        f'python tools/test.py {config} {shown}/{best} --data {shown}/data/dataset.yaml '
        f'--work-dir {shown}/test --out {shown}/test.json --show-dir {shown}/pictures'
    )
    from casvit_mm.plotting.training_curves import draw_loss_curve

    draw_loss_curve(work_dir, work_dir / 'loss_curve.png')


if __name__ == '__main__':
    cli(main)
