"""Bring weights of any origin under our names, into a file that no program can hide in.

casvit-mm convert-weights checkpoints/cas-vit-s.pth checkpoints/casvit-s.safetensors
casvit-mm convert-weights SRC DST --config casvit_mm::maskrcnn_casvit_s_coco.py
casvit-mm convert-weights SRC DST.pth --weights ema

SRC is a file of the authors (classification, detection, segmentation), of mmpretrain, mmdet,
mmseg or timm with CAS-ViT in it, or safetensors; nothing in it is executed. Every key is compared:
one that is missing, unexpected or of another shape is an error, and what is left out is listed.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from casvit_mm.console import loading


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the job."""
    parser.add_argument('source', metavar='SRC', help='file, or http(s) address of one')
    parser.add_argument('target', metavar='DST', help='.safetensors or .pth')
    parser.add_argument(
        '--config', metavar='CONFIG', help='compare neck and heads, too, with the model of a config'
    )
    parser.add_argument(
        '--weights', choices=['ema', 'raw'], help='averaged or raw, of a file that holds both'
    )


def run(args: Namespace) -> None:
    """Convert, and print what was written."""
    with loading(args.source, 'torch'):
        from casvit_mm.zoo.convert import convert

    print(convert(**vars(args)))
