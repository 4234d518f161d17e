"""Evaluate a checkpoint, or an exported file, of any task.

casvit-mm test casvit_mm::maskrcnn_casvit_s_coco.py checkpoints/maskrcnn_casvit_s_coco.pth
casvit-mm test CKPT --data dataset.yaml --out metrics.json --show-dir pictures
casvit-mm test CKPT --data dataset.yaml --out-pred predictions.json --analysis errors
casvit-mm test CONFIG model.onnx --data dataset.yaml
casvit-mm test CONFIG CKPT --data dataset.yaml --tile 640 --overlap 0.2
tools/dist_test.sh CONFIG CKPT 8
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from casvit_mm.commands.parser import add_config_options, add_launcher, check_config, part_config
from casvit_mm.console import loading
from casvit_mm.errors import InputError


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the job."""
    parser.add_argument(
        'files',
        nargs='+',
        metavar='[CONFIG] CKPT',
        help='a checkpoint holds its config; .onnx and .xml need one',
    )
    parser.add_argument(
        '--work-dir', metavar='DIR', help="logs; default: test/ in the config's work dir"
    )
    parser.add_argument(
        '--data', metavar='YAML', help='custom dataset, see docs/reference/data_formats.md'
    )
    parser.add_argument('--out', metavar='JSON', help='write the metrics')
    parser.add_argument(
        '--out-pred',
        metavar='PATH',
        help='detection: COCO results to this file, masks to <stem>.segm.json; segmentation: mask '
        'PNGs to this folder; classification: the most probable classes to this file',
    )
    parser.add_argument(
        '--analysis', metavar='DIR', help='a closer look: curves, confusion matrix, worst images'
    )
    parser.add_argument('--show-dir', metavar='DIR', help='draw truth and predictions')
    parser.add_argument(
        '--tile', type=int, metavar='PX', help='read larger images by tiles of this side'
    )
    parser.add_argument(
        '--overlap', type=float, metavar='F', help='what neighbouring tiles have in common (0.2)'
    )
    add_config_options(parser)
    add_launcher(parser)


def run(args: Namespace) -> None:
    """Evaluate."""
    options = vars(args)
    config, files = part_config(options.pop('files'))
    if len(files) != 1:
        raise InputError(f'name one checkpoint, and a CONFIG before it if any; got {files}')
    check_config(config)
    with loading(files[0]):
        from casvit_mm.engine import evaluate

    evaluate(config, files[0], **options)
