#!/usr/bin/env python
"""Compare the token mixers: what they cost, or what CAS-ViT-XS reaches with each.

python tools/study_mixers.py                       # parameters, multiply-adds, latency, memory
python tools/study_mixers.py --train dataset.yaml  # top-1 on an image folder, three seeds
python tools/study_mixers.py --mixers AdditiveTokenMixer PoolingTokenMixer --sides 7 14 28

Tables, JSON and pictures go to --out. An interrupted --train goes on where it was.
"""

import argparse

import torch

from casvit_mm.benchmark.mixer_accuracy import compare_accuracies
from casvit_mm.benchmark.mixer_costs import SIDES, compare_costs, mixer_names
from casvit_mm.cli import cli
from casvit_mm.config.options import ConfigOptions


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', metavar='DIR', default='work_dirs/token_mixers')
    parser.add_argument('--mixers', nargs='+', metavar='NAME', help='those named, not all')
    cost = parser.add_argument_group('costs')
    cost.add_argument('--dim', type=int, default=64, help='channels (64)')
    cost.add_argument(
        '--sides', type=int, nargs='+', default=SIDES, metavar='N', help='maps of NxN tokens'
    )
    cost.add_argument('--rounds', type=int, default=7, help='timings of each (7)')
    cost.add_argument(
        '--device',
        choices=['cpu', 'cuda'],
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='the GPU where there is one',
    )
    accuracy = parser.add_argument_group('accuracy')
    accuracy.add_argument('--train', metavar='YAML', help='an image folder, docs/custom_dataset.md')
    accuracy.add_argument('--config', default='configs/casvit_xs_short.py', help='the recipe')
    accuracy.add_argument('--seeds', type=int, nargs='+', default=(0, 1, 2), metavar='N')
    accuracy.add_argument('--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE')
    return parser.parse_args()


def main() -> None:
    """Measure, or train."""
    args = parse_args()
    names = mixer_names(args.mixers)
    if args.train is None:
        compare_costs(
            *(names, args.out),
            dim=args.dim,
            sides=args.sides,
            rounds=args.rounds,
            device=args.device,
        )
    else:
        compare_accuracies(
            *(names, args.train, args.out),
            config=args.config,
            seeds=args.seeds,
            cfg_options=args.cfg_options,
        )
    print(f'\nwritten to {args.out}')


if __name__ == '__main__':
    cli(main)
