"""Check a custom dataset before training: issues, statistics, pictures, advice.

casvit-mm check-data dataset.yaml
casvit-mm check-data dataset.yaml --config casvit_mm::maskrcnn_casvit_s_coco.py
casvit-mm check-data dataset.yaml --fix clean
casvit-mm check-data --layout coco              # COCO, ADE20K, ImageNet as downloaded

Boxes, segmentation masks or image folders: dataset.yaml tells which; --config is of the
same task. Ends with status 0 if training would start (with --fix: with the copy), and 2 if not, as
casvit-mm train would.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from casvit_mm.commands.parser import check_config
from casvit_mm.console import say
from casvit_mm.errors import InputError


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the job."""
    parser.add_argument(
        'data', nargs='?', metavar='YAML', help='custom dataset, see docs/reference/data_formats.md'
    )
    parser.add_argument(
        '--config',
        help='judge by its image scale, crop, and what its task adds (anchors and need of masks, '
        'stride); default: the recipe for a first training, with masks of objects no obligation',
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


def run(args: Namespace) -> None:
    """Check; status 2 if training would not start."""
    if args.layout is not None:
        if len(args.layout) > 2 or args.data is not None:
            raise InputError('--layout takes a name and one folder, and stands alone')
        from casvit_mm.datasets.layouts import print_layout

        sys.exit(print_layout(*args.layout))
    if args.data is None:
        raise InputError('name a dataset.yaml, or --layout coco')
    check_config(args.config)
    say(f'{args.data}: checking')
    from casvit_mm.registration import register_late

    register_late()
    from casvit_mm.datasets.description import dataset_name
    from casvit_mm.engine.data_check import check_dataset

    out = args.out or f'work_dirs/check_data/{dataset_name(args.data)}'
    good = check_dataset(
        args.data, out, config=args.config, fix=args.fix, read_images=not args.fast
    )
    sys.exit(0 if good else 2)
