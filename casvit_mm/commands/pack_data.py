"""Write the images that a config trains on into one file, for storage that is slow per file.

casvit-mm pack-data CONFIG --data dataset.yaml --out /local/pack
casvit-mm train CONFIG --data dataset.yaml --packed /local/pack

Images as they are, and the masks of a segmentor, of the train split, by LMDB (pip install
'casvit_mm[pack]'). The files themselves stay, and are checked before a training starts.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from casvit_mm.cli import job_command
from casvit_mm.commands.parser import check_config
from casvit_mm.console import loading


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the job."""
    parser.add_argument('config', help='casvit_mm::NAME.py, one of ours, or a path')
    parser.add_argument(
        '--data', metavar='YAML', help='custom dataset, see docs/reference/data_formats.md'
    )
    parser.add_argument('--out', required=True, metavar='DIR', help='folder to make')


def run(args: Namespace) -> None:
    """Pack, and print how to train on it."""
    check_config(args.config)
    with loading(args.config):
        from casvit_mm.engine.packing import pack_data

    print(pack_data(args.config, args.out, args.data))
    data = ['--data', args.data] if args.data else []
    print(f'\nnext:\n  {job_command("train", args.config, *data, "--packed", args.out)}')
