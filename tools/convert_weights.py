#!/usr/bin/env python
"""Bring weights of any origin under our names, into a file that no program can hide in.

python tools/convert_weights.py checkpoints/cas-vit-s.pth checkpoints/casvit-s.safetensors
python tools/convert_weights.py SRC DST --config configs/maskrcnn_casvit_s_coco.py
python tools/convert_weights.py SRC DST.pth --weights ema

SRC is a file of the authors (classification, detection, segmentation), of mmpretrain, mmdet,
mmseg or timm with CAS-ViT in it, or safetensors; nothing in it is executed. Every key is compared:
one that is missing, unexpected or of another shape is an error, and what is left out is listed.
"""

import argparse

from casvit_mm.cli import cli
from casvit_mm.weights.reading import WEIGHT_SETS
from casvit_mm.zoo.convert import convert


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', metavar='SRC', help='file, or http(s) address of one')
    parser.add_argument('target', metavar='DST', help='.safetensors or .pth')
    parser.add_argument(
        '--config', metavar='CONFIG', help='compare neck and heads, too, with the model of a config'
    )
    parser.add_argument(
        '--weights', choices=list(WEIGHT_SETS), help='averaged or raw, of a file that holds both'
    )
    return parser.parse_args()


if __name__ == '__main__':
    cli(lambda: print(convert(**vars(parse_args()))))
