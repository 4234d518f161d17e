#!/usr/bin/env python
"""Check a custom dataset before training: issues, statistics, pictures, advice.

python tools/check_data.py dataset.yaml
python tools/check_data.py dataset.yaml --config configs/maskrcnn_casvit_s_coco.py
python tools/check_data.py dataset.yaml --fix clean
python tools/check_data.py --layout coco              # COCO, ADE20K, ImageNet as downloaded

Boxes, segmentation masks or image folders: dataset.yaml tells which; --config is of the
same task. Ends with status 0 if training would start (with --fix: with the copy), and 2 if not, as
tools/train.py would.
"""

import argparse
import sys
from pathlib import Path

from casvit_mm.cli import cli
from casvit_mm.datasets.layouts import print_layout
from casvit_mm.engine.data_check import check_dataset


def main() -> None:
    """Read the command line and check."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'data', nargs='?', metavar='YAML', help='custom dataset, see docs/custom_dataset.md'
    )
    parser.add_argument(
        '--config',
        help='judge by its image scale, crop, and what its task adds (anchors and need of masks, '
        'stride); default: a published XS config, with masks of objects no obligation',
    )
    parser.add_argument('--out', metavar='DIR', help='pictures and report.json')
    parser.add_argument(
        '--fast', action='store_true', help='decode no image; look at them as training does'
    )
    parser.add_argument(
        '--fix', metavar='DIR', help='write a clean copy of annotations, masks or lists there'
    )
    parser.add_argument(
        '--layout', nargs='+', metavar=('NAME', 'ROOT'), help='coco, ade20k or imagenet, and where'
    )
    args = parser.parse_args()
    if args.layout is not None:
        if len(args.layout) > 2 or args.data is not None:
            parser.error('--layout takes a name and one folder, and stands alone')
        sys.exit(print_layout(*args.layout))
    if args.data is None:
        parser.error('name a dataset.yaml, or --layout coco')
    out = args.out or f'work_dirs/check_data/{Path(args.data).stem}'
    good = check_dataset(
        args.data, out, config=args.config, fix=args.fix, read_images=not args.fast
    )
    sys.exit(0 if good else 2)


if __name__ == '__main__':
    cli(main)
