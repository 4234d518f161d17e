"""Feed readers with damaged input for a while; anything but an InputError is a fault.

PYTHONPATH=tests python -m fuzz                        every reader, ten minutes each
PYTHONPATH=tests python -m fuzz coco voc --minutes 600

A fault is an exception of another kind, more than 5 seconds, or more than 4 GiB beside what the
process has. Each is printed once, with the shortest input that shows it, which is kept below
--out; status 1 if there is any. What was found in earlier runs is tried first.
"""

import argparse
import sys
from pathlib import Path

from casvit_mm.cli import cli
from fuzz.run import fuzz


def main() -> None:
    """Read the command line and fuzz."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('readers', nargs='*', metavar='READER', help='all')
    parser.add_argument('--minutes', type=float, default=10, help='for each (10)')
    parser.add_argument('--seed', type=int, default=0, help='of the first round (0)')
    parser.add_argument('--out', default='work_dirs/fuzz', metavar='DIR', help='work_dirs/fuzz')
    args = parser.parse_args()
    if fuzz(args.readers, args.minutes, args.seed, Path(args.out)):
        sys.exit(1)


if __name__ == '__main__':
    cli(main)
