"""Draw what a network sees: images after the whole pipeline, beside the originals.

casvit-mm browse-data casvit_mm::maskrcnn_casvit_xs_light.py --data dataset.yaml

For configs of every task. Writes one picture per image and an overview, and prints what
augmentation does to the objects, to the pixels of each class, or to the part that is seen.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from casvit_mm.commands.parser import check_config
from casvit_mm.console import loading


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the job."""
    parser.add_argument('config', help='casvit_mm::NAME.py, one of ours, or a path')
    parser.add_argument(
        '--data', metavar='YAML', help='custom dataset, see docs/reference/data_formats.md'
    )
    parser.add_argument(
        '--split', choices=['train', 'val', 'test'], default='train', help='which images (train)'
    )
    parser.add_argument('--count', type=int, default=16, help='images')
    parser.add_argument('--copies', type=int, default=2, help='augmented versions of each')
    parser.add_argument('--seed', type=int, default=0, help='of all random numbers (0)')
    parser.add_argument('--out', metavar='DIR', help='work_dirs/<config>_<data>/browse if left out')


def run(args: Namespace) -> None:
    """Draw, and print where."""
    check_config(args.config)
    with loading(args.config):
        from casvit_mm.engine.browse import browse

    print(*browse(**vars(args)).lines(), sep='\n')
