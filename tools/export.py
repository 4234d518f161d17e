#!/usr/bin/env python
"""Write a model for another engine, and compare the file with PyTorch before it is kept.

python tools/export.py configs/maskrcnn_casvit_s_coco.py CKPT --format onnx --out model.onnx
python tools/export.py CONFIG CKPT --format openvino --out model.xml --size 640x480 --bf16
python tools/export.py CONFIG CKPT --format onnx --out model.onnx --int8 --calibrate photos/
python tools/export.py CONFIG CKPT --format fastest --out model      # of ONNX and OpenVINO, here

The file needs no mm package any more: from casvit_mm.deploy import load; load('model.onnx')(image)
"""

import argparse

from casvit_mm.cli import cli
from casvit_mm.config.options import ConfigOptions
from casvit_mm.export import FORMATS, export, export_fastest


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument('checkpoint', nargs='?', help='random weights without it, for timing')
    parser.add_argument('--format', required=True, choices=[*FORMATS, 'fastest'])
    suffixes = ', '.join(kind.suffix for kind in FORMATS.values())
    parser.add_argument(
        '--out', required=True, metavar='FILE', help=f'ends in {suffixes}; of fastest: without'
    )
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        '--size', metavar='WxH', help='fixed input size, batch 1 (a classifier: that of its crop)'
    )
    sizes.add_argument(
        '--dynamic', action='store_true', help='any height, width and batch (others)'
    )
    parser.add_argument(
        '--preprocess',
        choices=['inside', 'outside'],
        default='inside',
        help='normalisation and channel order in the file (default) or left to the caller',
    )
    parser.add_argument(
        '--nms',
        choices=['inside', 'outside'],
        default='inside',
        help='objects are chosen in the file (default) or, of a detector of one stage, by deploy',
    )
    parser.add_argument('--backbone', action='store_true', help='the backbone alone')
    precisions = parser.add_mutually_exclusive_group()
    for name in ('fp16', 'bf16', 'int8'):
        precisions.add_argument(f'--{name}', dest='precision', action='store_const', const=name)
    parser.add_argument('--calibrate', metavar='FOLDER', help='images for --int8')
    parser.add_argument(
        '--images', metavar='FOLDER', help="to compare on (the config's test data, or generated)"
    )
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE')
    parser.set_defaults(precision='fp32')
    return parser.parse_args()


def main() -> None:
    """Export, and print what was written."""
    args = vars(parse_args())
    if args['format'] != 'fastest':
        print(export(**args))
        return
    out = args.pop('out')
    del args['format']
    print(
        export_fastest(
            lambda name, path: export(format=name, out=path, **args), out, args['precision']
        )
    )


if __name__ == '__main__':
    cli(main)
