"""Write a model for another engine, and compare the file with PyTorch before it is kept.

casvit-mm export configs/maskrcnn_casvit_s_coco.py CKPT --format onnx --out model.onnx
casvit-mm export CONFIG CKPT --format openvino --out model.xml --size 640x480 --bf16
casvit-mm export CONFIG CKPT --format onnx --out model.onnx --int8 --calibrate photos/
casvit-mm export CONFIG CKPT --format fastest --out model      # of ONNX and OpenVINO, here

The file needs no mm package any more: from casvit_mm.deploy import load; load('model.onnx')(image)
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from casvit_mm.config.options import ConfigOptions

_FORMATS = ['onnx', 'openvino', 'torch-export', 'coreml', 'fastest']


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the job."""
    parser.add_argument('config')
    parser.add_argument('checkpoint', nargs='?', help='random weights without it, for timing')
    parser.add_argument('--format', required=True, choices=_FORMATS)
    parser.add_argument(
        '--out',
        required=True,
        metavar='FILE',
        help='ends in .onnx, .xml, .pt2, .mlpackage; of fastest: without',
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


def run(args: Namespace) -> None:
    """Export, and print what was written."""
    from casvit_mm.export import export, export_fastest

    options = vars(args)
    if args.format != 'fastest':
        print(export(**options))
        return
    out = options.pop('out')
    del options['format']
    print(
        export_fastest(
            lambda name, path: export(format=name, out=path, **options), out, args.precision
        )
    )
