#!/usr/bin/env python
"""Fetch published weights into checkpoints/, where the configs expect them.

python tools/download_weights.py                            # lists the names
python tools/download_weights.py cas-vit-s                  # the pretrained backbone
python tools/download_weights.py maskrcnn_casvit_s_coco     # a whole model, by its config's name

A file is there whole and checked, or not at all. An interrupted download goes on with the same
command. Offline, or when Google Drive refuses, it says how to place the file by hand.
"""

import argparse
import sys
from functools import partial

from casvit_mm.cli import cli
from casvit_mm.io import run_all
from casvit_mm.weights.published import WeightFile, find_file
from casvit_mm.zoo.download import download, print_files


def main() -> None:
    """Read the command line; list, or fetch."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('names', nargs='*', metavar='NAME')
    parser.add_argument('--dir', default='checkpoints', help='where to; default: checkpoints')
    args = parser.parse_args()
    if not args.names:
        print_files(args.dir)
        return
    jobs = [partial(_fetch, find_file(name), args.dir) for name in args.names]
    try:
        run_all(jobs)
    except KeyboardInterrupt:
        print('\ninterrupted; the same command goes on from what came', file=sys.stderr)
        sys.exit(130)


def _fetch(file: WeightFile, folder: str) -> None:
    print(download(file, folder))


if __name__ == '__main__':
    cli(main)
