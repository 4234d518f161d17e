#!/usr/bin/env python
"""From nothing to a trained model in three minutes on a CPU, by the commands a user would type.

python tools/quickstart.py

Generates labelled images, trains, evaluates on held-out images, and leaves figures and pictures
in work_dirs/quickstart. What is already there is not done again.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

from casvit_mm.datasets.shapes import generate_shapes
from casvit_mm.engine.distributed import cli
from casvit_mm.reporting import print_metrics, write_json
from casvit_mm.visualize import draw_loss_curve

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/maskrcnn_casvit_xs_shapes.py'


def run(command: str) -> None:
    """Show a command and run it from the repository's root; its failure is ours."""
    print(f'\n$ {command}', flush=True)
    code = subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=ROOT).returncode
    if code:
        sys.exit(code)


def main() -> None:
    """Generate, train, evaluate, and say where everything is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--work-dir', default='work_dirs/quickstart', metavar='DIR')
    work_dir = ROOT / parser.parse_args().work_dir
    figures = work_dir / 'metrics.json'
    shown = work_dir.relative_to(ROOT) if work_dir.is_relative_to(ROOT) else work_dir
    if not figures.is_file():
        start = time.perf_counter()
        generate_shapes(work_dir / 'data')
        run(
            f'python tools/train.py {CONFIG} --from-scratch --data {shown}/data/dataset.yaml '
            f'--work-dir {shown} --seed 0'
        )
        best = sorted(work_dir.glob('best_*.pth'))[-1].name
        run(
            f'python tools/test.py {CONFIG} {shown}/{best} --data {shown}/data/dataset.yaml '
            f'--work-dir {shown}/test --out {shown}/test.json --show-dir {shown}/pictures'
        )
        draw_loss_curve(work_dir, work_dir / 'loss_curve.png')
        metrics = json.loads((work_dir / 'test.json').read_text())
        write_json(figures, {**metrics, 'seconds': time.perf_counter() - start})

    metrics = json.loads(figures.read_text())
    print_metrics(
        {k: v for k, v in metrics.items() if k.startswith('coco/') and v is not None},
        title='\nquickstart, on images it did not train on',
    )
    print(f'{metrics["seconds"]:.0f} seconds. Figures: {shown}/metrics.json')
    print(f'Pictures, truth left and predictions right: {shown}/pictures/')
    print(f'Loss and AP over time: {shown}/loss_curve.png')
    print(f'Your own data goes in as {shown}/data/dataset.yaml shows. To run anew: rm -r {shown}')


if __name__ == '__main__':
    cli(main)
