#!/usr/bin/env python
"""Detect objects in images, folders of images, and videos.

python tools/predict.py configs/maskrcnn_casvit_s_coco.py checkpoints/maskrcnn_casvit_s_coco.pth DIR
python tools/predict.py CONFIG CKPT a.jpg b.tif clip.mp4 --out-dir results --score-thr 0.5

Writes predictions.json, pictures and annotated videos. Status 1: some files could not be read.
"""

import argparse
import sys

from casvit_mm.cli import cli
from casvit_mm.config.options import ConfigOptions
from casvit_mm.detection.prediction.files import predict


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='also the copy in a work dir')
    parser.add_argument('checkpoint')
    parser.add_argument('inputs', nargs='+', metavar='IMAGE|FOLDER|VIDEO')
    parser.add_argument('--out-dir', metavar='DIR', help='results (work_dirs/predictions/<config>)')
    parser.add_argument(
        '--score-thr', type=float, default=0.3, metavar='S', help='minimum score (0.3)'
    )
    parser.add_argument(
        '--max-dets', type=int, metavar='N', help='objects per image, where the config keeps fewer'
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ...; a GPU where there is one')
    parser.add_argument('--batch-size', type=int, default=1, metavar='N', help='images at once (1)')
    parser.add_argument(
        '--no-pictures', dest='pictures', action='store_false', help='write JSON only'
    )
    parser.add_argument(
        '--every', type=int, default=1, metavar='N', help='every n-th frame of a video'
    )
    parser.add_argument('--max-frames', type=int, metavar='N', help='of a video, no more than N')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE')
    return parser.parse_args()


def main() -> None:
    """Predict; status 1 if a file could not be read."""
    if predict(**vars(parse_args()))['unreadable']:
        sys.exit(1)


if __name__ == '__main__':
    cli(main)
