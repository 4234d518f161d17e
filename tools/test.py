#!/usr/bin/env python
"""Evaluate a checkpoint, or an exported file, of any task.

python tools/test.py configs/maskrcnn_casvit_s_coco.py checkpoints/maskrcnn_casvit_s_coco.pth
python tools/test.py CONFIG CKPT --data dataset.yaml --out metrics.json --show-dir pictures
python tools/test.py CONFIG CKPT --out-pred predictions.json --analysis errors
python tools/test.py CONFIG model.onnx --data dataset.yaml
python tools/test.py configs/semfpn_casvit_s_ade20k.py CKPT --out-pred masks --slide 512
tools/dist_test.sh CONFIG CKPT 8
"""

import argparse

from casvit_mm.cli import cli
from casvit_mm.config.options import ConfigOptions
from casvit_mm.engine import evaluate


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument('checkpoint', help='or .onnx, .xml of tools/export.py')
    parser.add_argument(
        '--work-dir', metavar='DIR', help="logs; default: test/ in the config's work dir"
    )
    parser.add_argument('--data', metavar='YAML', help='custom dataset, see docs/custom_dataset.md')
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
        '--slide', type=int, metavar='PX', help='segment large images by windows of this side'
    )
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none')
    return parser.parse_args()


if __name__ == '__main__':
    cli(lambda: evaluate(**vars(parse_args())))
