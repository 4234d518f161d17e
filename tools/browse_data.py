#!/usr/bin/env python
"""Draw what a network sees: images after the whole pipeline, beside the originals.

python tools/browse_data.py configs/maskrcnn_casvit_xs_light.py --data dataset.yaml

For configs of every task. Writes one picture per image and an overview, and prints what
augmentation does to the objects, to the pixels of each class, or to the part that is seen.
"""

import argparse

from casvit_mm.cli import cli
from casvit_mm.engine.browse import browse


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument('--data', metavar='YAML', help='custom dataset, see docs/custom_dataset.md')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument('--count', type=int, default=16, help='images')
    parser.add_argument('--copies', type=int, default=2, help='augmented versions of each')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', metavar='DIR', help='work_dirs/<config>/browse if left out')
    return parser.parse_args()


if __name__ == '__main__':
    cli(lambda: print(*browse(**vars(parse_args())).lines(), sep='\n'))
