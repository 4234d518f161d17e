"""Publish a checkpoint's weights: a slim file without training state, named after its content.

casvit-mm publish-weights work_dirs/casvit_xs_imagenet/epoch_300.pth
casvit-mm publish-weights CKPT released/casvit-xs --weights raw
casvit-mm publish-weights CKPT released/ --format pth

Writes <stem>-<first 8 digits of its SHA-256>.safetensors, which --pretrained, --finetune
and tools/test.py read. A training with EMA keeps two sets of weights; its averaged ones are taken.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the job."""
    parser.add_argument('checkpoint', metavar='CKPT', help='of a training')
    parser.add_argument(
        'out', nargs='?', help='folder, or folder and stem of the name; those of CKPT if left out'
    )
    parser.add_argument(
        '--weights', choices=['ema', 'raw'], help='averaged or raw, of a file that holds both'
    )
    parser.add_argument(
        '--format',
        dest='file_format',
        choices=['safetensors', 'pth'],
        default='safetensors',
        help='of the file (safetensors)',
    )


def run(args: Namespace) -> None:
    """Publish, and print what was written."""
    from casvit_mm.zoo.publish import publish

    print(publish(**vars(args)))
