#!/usr/bin/env python
"""From nothing to a trained model in three minutes on a CPU, by the commands a user would type.

python tools/quickstart.py

Generates labelled images, trains, evaluates on held-out images, and leaves figures and pictures
in work_dirs/quickstart. What is already there is not done again.
"""

import argparse
import json
import math
import re
import shlex
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from casvit_mm.datasets.shapes import generate_shapes
from casvit_mm.engine.distributed import cli
from casvit_mm.reporting import print_metrics, write_json
from casvit_mm.visualize import draw_loss_curve

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/maskrcnn_casvit_xs_shapes.py'
PROGRESS = re.compile(r'INFO - ((?:Epoch\(train\)|own data|--from-scratch).*)')


def run(command: str, log: Path) -> None:
    """Show a command, run it from the repository's root, and echo the lines that tell progress.

    Everything it prints goes to ``log``. If it fails, its last lines are shown and we end too.
    """
    print(f'\n$ {command}', flush=True)
    last: deque[str] = deque(maxlen=15)
    process = subprocess.Popen(
        [sys.executable, *shlex.split(command)[1:]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    with log.open('w') as file:
        for line in process.stdout:
            file.write(line)
            last.append(line)
            if progress := PROGRESS.search(line):
                print(f'  {progress.group(1)}', flush=True)
    if process.wait():
        sys.stderr.writelines(last)
        print(f'\nthe command above failed; all it printed is in {log}', file=sys.stderr)
        sys.exit(process.returncode)


def main() -> None:
    """Generate, train, evaluate, and say where everything is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--work-dir', default='work_dirs/quickstart', metavar='DIR')
    work_dir = ROOT / parser.parse_args().work_dir
    figures = work_dir / 'metrics.json'
    shown = work_dir.relative_to(ROOT) if work_dir.is_relative_to(ROOT) else work_dir
    quoted = shlex.quote(str(shown))
    if not figures.is_file():
        start = time.perf_counter()
        generate_shapes(work_dir / 'data')
        run(
            f'python tools/train.py {CONFIG} --from-scratch --data {quoted}/data/dataset.yaml '
            f'--work-dir {quoted} --seed 0 --resume',
            work_dir / 'train.log',
        )
        best = max(work_dir.glob('best_*.pth'), key=lambda path: path.stat().st_mtime).name
        run(
            f'python tools/test.py {CONFIG} {quoted}/{best} --data {quoted}/data/dataset.yaml '
            f'--work-dir {quoted}/test --out {quoted}/test.json --show-dir {quoted}/pictures',
            work_dir / 'test.log',
        )
        draw_loss_curve(work_dir, work_dir / 'loss_curve.png')
        metrics = json.loads((work_dir / 'test.json').read_text())
        write_json(figures, {**metrics, 'seconds': time.perf_counter() - start})

    metrics = json.loads(figures.read_text())
    print_metrics(
        {k: math.nan if v is None else v for k, v in metrics.items() if k.startswith('coco/')},
        title='\nquickstart, on images it did not train on',
    )
    print(f'{metrics["seconds"]:.0f} seconds. Figures: {shown}/metrics.json')
    print(f'Pictures, truth left and predictions right: {shown}/pictures/')
    print(f'Loss and AP over time: {shown}/loss_curve.png')
    print(f'Your own data goes in as {shown}/data/dataset.yaml shows. To run anew: rm -r {shown}')


if __name__ == '__main__':
    cli(main)
