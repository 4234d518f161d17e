#!/usr/bin/env python
"""Publish a checkpoint's weights: a slim file without training state, named after its content.

python tools/publish_weights.py work_dirs/casvit_xs_imagenet/epoch_300.pth
python tools/publish_weights.py CKPT released/casvit-xs --weights raw
python tools/publish_weights.py CKPT released/ --format pth

Writes <stem>-<first 8 digits of its SHA-256>.safetensors, which --pretrained, --finetune
and tools/test.py read. A training with EMA keeps two sets of weights; its averaged ones are taken.
"""

import argparse

from casvit_mm.cli import cli
from casvit_mm.weights.reading import WEIGHT_SETS
from casvit_mm.zoo.publish import FORMATS, publish


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', metavar='CKPT')
    parser.add_argument(
        'out', nargs='?', help='folder, or folder and stem of the name; those of CKPT if left out'
    )
    parser.add_argument(
        '--weights', choices=list(WEIGHT_SETS), help='averaged or raw, of a file that holds both'
    )
    parser.add_argument(
        '--format', dest='file_format', choices=list(FORMATS), default='safetensors'
    )
    return parser.parse_args()


if __name__ == '__main__':
    cli(lambda: print(publish(**vars(parse_args()))))
