"""Write a dataset in another format; what that format does not hold is counted.

casvit-mm convert-data dataset.yaml --to yolo out
casvit-mm convert-data labelme_folder --to coco out --images link
casvit-mm convert-data data.yaml --to label-studio out --verify

SRC is what --data takes: a dataset.yaml, or a file or folder as a labelling tool wrote it. Objects
of a detection dataset, regions of a segmentation dataset, classes of an image folder. OUT must not
exist; it has its name once all is in it.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from casvit_mm.console import say
from casvit_mm.datasets.writers import FORMATS


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the job."""
    parser.add_argument('data', metavar='SRC', help='dataset.yaml, or what a tool wrote')
    parser.add_argument('out', metavar='OUT', help='folder to make')
    parser.add_argument(
        '--to',
        required=True,
        choices=FORMATS,
        help='format to write',
    )
    parser.add_argument(
        '--images', choices=('copy', 'link'), default='copy', help='copies or symbolic links (copy)'
    )
    parser.add_argument(
        '--verify',
        action='store_true',
        help='read what was written, and print by how much boxes and masks differ',
    )


def run(args: Namespace) -> None:
    """Convert."""
    say(f'{args.data}: reading')
    from casvit_mm.registration import register_late

    register_late()
    from casvit_mm.engine.convert import convert_data

    convert_data(args.data, args.to, args.out, link=args.images == 'link', verify=args.verify)
