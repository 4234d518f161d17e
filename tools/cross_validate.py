#!/usr/bin/env python
"""Train and evaluate a config once per fold, for sets too small to set images aside.

python tools/cross_validate.py configs/maskrcnn_casvit_xs_light.py --data dataset.yaml --folds 6
python tools/cross_validate.py configs/casvit_xs_light.py --data dataset.yaml --folds 5
python tools/cross_validate.py CONFIG --data dataset.yaml --folds 6 --finetune trained.pth

For detection, segmentation and classification. dataset.yaml names one set under data:
(docs/custom_dataset.md). An interrupted run goes on where it was.
"""

import argparse

from casvit_mm.cli import cli
from casvit_mm.config.options import ConfigOptions
from casvit_mm.engine import Randomness, Start, TrainOptions
from casvit_mm.engine.cross_validation import cross_validate


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument('--data', metavar='YAML', required=True)
    parser.add_argument('--folds', type=int, default=5)
    parser.add_argument('--work-dir', metavar='DIR', help='one sub-folder per fold')
    parser.add_argument('--finetune', metavar='CKPT', help='a trained model to start from')
    parser.add_argument('--from-scratch', action='store_true', help='no pretrained weights')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--deterministic', action='store_true')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE')
    return parser.parse_args()


def main() -> None:
    """Group the options of the command line, and cross-validate."""
    args = parse_args()
    options = TrainOptions(
        start=Start(finetune=args.finetune, from_scratch=args.from_scratch),
        randomness=Randomness(args.seed, args.deterministic),
        cfg_options=args.cfg_options,
    )
    cross_validate(args.config, args.data, args.folds, work_dir=args.work_dir, options=options)


if __name__ == '__main__':
    cli(main)
