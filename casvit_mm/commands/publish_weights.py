"""Publish a checkpoint's weights: a slim file without training state, named after its content.

casvit-mm publish-weights work_dirs/casvit_xs_imagenet/epoch_300.pth
casvit-mm publish-weights CKPT released/casvit-xs --weights raw
casvit-mm publish-weights CKPT released/ --format pth
casvit-mm publish-weights CKPT released/cells/ --card --metrics metrics.json --license apache-2.0

Writes <stem>-<first 8 digits of its SHA-256>.safetensors, which --pretrained, --finetune
and casvit-mm test read. A training with EMA keeps two sets of weights; its averaged ones are taken.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from casvit_mm.console import loading
from casvit_mm.errors import InputError


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
        '--card', action='store_true', help='write a model card beside it: README.md'
    )
    parser.add_argument('--metrics', metavar='JSON', help='for the card: of test --out')
    parser.add_argument('--data', metavar='TEXT', help='for the card: data, source and licence')
    parser.add_argument('--license', metavar='ID', help='for the card: such as apache-2.0')
    parser.add_argument('--use', metavar='TEXT', help='for the card: what it is meant for')
    parser.add_argument(
        '--push', metavar='USER/NAME', help='send file and card to the Hugging Face Hub'
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
    with loading(args.checkpoint, 'torch'):
        from casvit_mm.zoo.card import CardFacts
        from casvit_mm.zoo.publish import publish

    stated = {name: getattr(args, name) for name in ('metrics', 'data', 'license', 'use')}
    if not args.card and any(stated.values()):
        given = ', '.join(f'--{name}' for name, value in stated.items() if value)
        raise InputError(f'{given}: for --card, which is not given')
    card = CardFacts(**stated) if args.card else None
    print(publish(args.checkpoint, args.out, args.weights, args.file_format, card, args.push))
