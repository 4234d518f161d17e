"""Fetch published weights into checkpoints/, where the configs expect them.

casvit-mm download-weights                            # lists the names
casvit-mm download-weights cas-vit-s                  # the pretrained backbone
casvit-mm download-weights maskrcnn_casvit_s_coco     # a whole model, by its config's name

A file is there whole and checked, or not at all. An interrupted download goes on with the same
command. Offline, or when Google Drive refuses, it says how to place the file by hand.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from functools import partial

from casvit_mm.console import loading


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the job."""
    parser.add_argument(
        'names', nargs='*', metavar='NAME', help='files; without one all are listed'
    )
    parser.add_argument('--dir', default='checkpoints', help='where to; default: checkpoints')


def run(args: Namespace) -> None:
    """List the names, or fetch."""
    if not args.names:
        from casvit_mm.zoo.download import print_files

        print_files(args.dir)
        return
    with loading('published weights', 'torch'):
        import casvit_mm.weights.reading  # noqa: F401  it checks what comes
        from casvit_mm.io import run_all
        from casvit_mm.weights.published import find_file
        from casvit_mm.zoo.download import download

    def fetch(name: str) -> None:
        print(download(find_file(name), args.dir))

    try:
        run_all([partial(fetch, name) for name in args.names])
    except KeyboardInterrupt:
        print('\ninterrupted; the same command goes on from what came', file=sys.stderr)
        sys.exit(130)
