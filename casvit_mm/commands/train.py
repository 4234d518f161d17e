"""Train a config of any task.

casvit-mm train casvit_mm::maskrcnn_casvit_xs_coco.py
casvit-mm train casvit_mm::maskrcnn_casvit_xs_coco.py --from-scratch --data dataset.yaml
casvit-mm train casvit_mm::maskrcnn_casvit_xs_coco.py --finetune CKPT --data dataset.yaml
casvit-mm train casvit_mm::maskrcnn_casvit_xs_coco.py --profile-data
casvit-mm train casvit_mm::maskrcnn_casvit_xs_coco.py --data dataset.yaml --epochs 24 --batch auto
tools/dist_train.sh configs/maskrcnn_casvit_s_coco.py 8 --amp
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from casvit_mm.commands.parser import add_config_options, add_launcher, check_config
from casvit_mm.console import loading


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the job."""
    parser.add_argument('config', help='casvit_mm::NAME.py, one of ours, or a path')
    parser.add_argument('--work-dir', metavar='DIR', help='logs and checkpoints')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='go on from a checkpoint; the last one if not named',
    )
    parser.add_argument(
        '--save-every',
        type=float,
        metavar='MINUTES',
        help='save the state inside an epoch as well, for --resume',
    )
    _add_recipe(parser)
    parser.add_argument('--amp', action='store_true', help='mixed precision, on a GPU')
    parser.add_argument('--bf16', action='store_true', help='mixed precision, GPU or CPU')
    parser.add_argument(
        '--channels-last', action='store_true', help='memory order that is fast for convolutions'
    )
    parser.add_argument('--compile', action='store_true', help='torch.compile the backbone')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale LR by the total batch size'
    )
    parser.add_argument('--from-scratch', action='store_true', help='no pretrained weights')
    parser.add_argument(
        '--pretrained', metavar='CKPT', help='weights of the backbone, e.g. of our own pretraining'
    )
    parser.add_argument(
        '--finetune', metavar='CKPT', help='start from a trained model, whatever its classes'
    )
    parser.add_argument(
        '--data', metavar='YAML', help='custom dataset, see docs/reference/data_formats.md'
    )
    parser.add_argument(
        '--packed', metavar='DIR', help='read the images from what pack-data has written'
    )
    parser.add_argument('--seed', type=int, help='of all random numbers; drawn if left out')
    parser.add_argument('--deterministic', action='store_true', help='the same weights every time')
    parser.add_argument(
        '--logger',
        nargs='+',
        default=[],
        choices=['aim', 'clearml', 'dvclive', 'mlflow', 'tensorboard', 'wandb'],
        help='log there as well',
    )
    parser.add_argument(
        '--profile-data',
        nargs='?',
        type=int,
        const=30,
        metavar='N',
        help='do not train: time N batches (30) of the data loader and of the model',
    )
    add_config_options(parser)
    add_launcher(parser)


def _add_recipe(parser: ArgumentParser) -> None:
    """Add what changes the recipe of the config."""
    length = parser.add_mutually_exclusive_group()
    for option, unit in (('--epochs', 'epochs'), ('--iters', 'iterations')):
        length.add_argument(
            option, type=int, metavar='N', help=f'length in {unit}; stretches the whole schedule'
        )
    parser.add_argument(
        '--batch',
        type=_number_or_auto,
        metavar='N',
        help='images per step of a process, LR scaled to it; auto: the largest that fits',
    )
    parser.add_argument('--lr', type=float, metavar='X', help='learning rate, as it is')
    parser.add_argument(
        '--early-stop', type=int, metavar='N', help='end after N validations without a better score'
    )


def _number_or_auto(text: str) -> int | str:
    return text if text == 'auto' else int(text)


def run(args: Namespace) -> None:
    """Group the options, and train."""
    check_config(args.config)
    with loading(args.config):
        from casvit_mm.engine import Randomness, Recipe, Speed, Start, TrainOptions, train

    options = TrainOptions(
        data=args.data,
        work_dir=args.work_dir,
        start=Start(args.resume, args.from_scratch, args.pretrained, args.finetune),
        recipe=Recipe(args.epochs, args.iters, args.batch, args.lr, args.early_stop),
        speed=Speed(args.amp, args.bf16, args.channels_last, args.compile),
        randomness=Randomness(args.seed, args.deterministic),
        auto_scale_lr=args.auto_scale_lr,
        loggers=tuple(args.logger),
        profile_data=args.profile_data,
        save_minutes=args.save_every,
        packed=args.packed,
        cfg_options=args.cfg_options,
        launcher=args.launcher,
    )
    train(args.config, options)
