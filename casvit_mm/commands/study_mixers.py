"""Compare the token mixers: what they cost, or what CAS-ViT-XS reaches with each.

casvit-mm study-mixers                       # parameters, multiply-adds, latency, memory
casvit-mm study-mixers --train dataset.yaml  # top-1 on an image folder, three seeds
casvit-mm study-mixers --mixers AdditiveTokenMixer PoolingTokenMixer --sides 7 14 28

Tables, JSON and pictures go to --out. An interrupted --train goes on where it was.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from casvit_mm.commands.parser import add_config_options
from casvit_mm.console import loading


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the job."""
    parser.add_argument(
        '--out',
        metavar='DIR',
        default='work_dirs/token_mixers',
        help='results (work_dirs/token_mixers)',
    )
    parser.add_argument('--mixers', nargs='+', metavar='NAME', help='those named, not all')
    cost = parser.add_argument_group('costs')
    cost.add_argument('--dim', type=int, default=64, help='channels (64)')
    cost.add_argument('--sides', type=int, nargs='+', metavar='N', help='maps of NxN tokens')
    cost.add_argument('--rounds', type=int, default=7, help='timings of each (7)')
    cost.add_argument(
        '--device',
        choices=['cpu', 'cuda'],
        help='the GPU where there is one',
    )
    accuracy = parser.add_argument_group('accuracy')
    accuracy.add_argument(
        '--train', metavar='YAML', help='an image folder, docs/howto/image_folder.md'
    )
    accuracy.add_argument('--config', default='casvit_mm::casvit_xs_short.py', help='the recipe')
    accuracy.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        default=(0, 1, 2),
        metavar='N',
        help='a training each (0 1 2)',
    )
    add_config_options(accuracy)


def run(args: Namespace) -> None:
    """Measure, or train."""
    with loading('token mixers', 'torch'):
        import torch

        from casvit_mm.benchmark.mixer_accuracy import compare_accuracies
        from casvit_mm.benchmark.mixer_costs import SIDES, compare_costs, mixer_names

    names = mixer_names(args.mixers)
    if args.train is None:
        compare_costs(
            *(names, args.out),
            dim=args.dim,
            sides=args.sides or SIDES,
            rounds=args.rounds,
            device=args.device or ('cuda' if torch.cuda.is_available() else 'cpu'),
        )
    else:
        compare_accuracies(
            *(names, args.train, args.out),
            config=args.config,
            seeds=args.seeds,
            cfg_options=args.cfg_options,
        )
    print(f'\nwritten to {args.out}')
