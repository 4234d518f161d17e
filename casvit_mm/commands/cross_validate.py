"""Train and evaluate a config once per fold, for sets too small to set images aside.

casvit-mm cross-validate casvit_mm::maskrcnn_casvit_xs_light.py --data dataset.yaml --folds 6
casvit-mm cross-validate casvit_mm::casvit_xs_light.py --data dataset.yaml --folds 5
casvit-mm cross-validate CONFIG --data dataset.yaml --folds 6 --finetune trained.pth

For detection, segmentation and classification. dataset.yaml names one set under data:
(docs/howto/few_images.md). An interrupted run goes on where it was.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from casvit_mm.commands.parser import add_config_options, check_config
from casvit_mm.console import loading


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the job."""
    parser.add_argument('config', help='casvit_mm::NAME.py, one of ours, or a path')
    parser.add_argument(
        '--data', metavar='YAML', required=True, help='one set, which folds are made of'
    )
    parser.add_argument('--folds', type=int, default=5, help='trainings, each without a part (5)')
    parser.add_argument('--work-dir', metavar='DIR', help='one sub-folder per fold')
    parser.add_argument('--finetune', metavar='CKPT', help='a trained model to start from')
    parser.add_argument('--from-scratch', action='store_true', help='no pretrained weights')
    parser.add_argument('--seed', type=int, default=0, help='of all random numbers (0)')
    parser.add_argument('--deterministic', action='store_true', help='the same weights every time')
    add_config_options(parser)


def run(args: Namespace) -> None:
    """Group the options, and cross-validate."""
    check_config(args.config)
    with loading(args.config):
        from casvit_mm.engine import Randomness, Start, TrainOptions
        from casvit_mm.engine.cross_validation import cross_validate

    options = TrainOptions(
        start=Start(finetune=args.finetune, from_scratch=args.from_scratch),
        randomness=Randomness(args.seed, args.deterministic),
        cfg_options=args.cfg_options,
    )
    cross_validate(args.config, args.data, args.folds, work_dir=args.work_dir, options=options)
