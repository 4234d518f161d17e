"""Show what a model looks at: class activation maps, gates, receptive fields, feature maps.

casvit-mm visualize casvit_mm::casvit_s_imagenet.py checkpoints/cas-vit-s.pth photos/
casvit-mm visualize CONFIG CKPT a.jpg --show cams --beside resnet50:r50.pth other.py:b.pth
casvit-mm visualize CKPT photos/ --show cams --class person car --method gradcam++

For classifiers, detectors and segmentors. docs/howto/visualize.md tells how to read the pictures.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from casvit_mm.commands.parser import add_config_options, check_config, part_config
from casvit_mm.console import loading
from casvit_mm.errors import InputError


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the job."""
    parser.add_argument('checkpoint', metavar='[CONFIG] CKPT', help='a checkpoint holds its config')
    parser.add_argument('inputs', nargs='+', metavar='IMAGE|FOLDER', help='what it looks at')
    parser.add_argument('--out-dir', metavar='DIR', help='results (work_dirs/visualize/<config>)')
    parser.add_argument(
        '--show',
        nargs='+',
        choices=['cams', 'gates', 'fields', 'features'],
        help='what to draw (all that the model has)',
    )
    parser.add_argument(
        '--beside',
        nargs='+',
        default=[],
        metavar='NAME[:CKPT]',
        help='models to draw beside it: configs, or names of timm; random weights without CKPT',
    )
    parser.add_argument(
        '--class',
        dest='class_names',
        nargs='+',
        default=[],
        metavar='NAME',
        help='explain these classes (the predicted one)',
    )
    parser.add_argument(
        '--method',
        choices=['gradcam', 'gradcam++', 'hirescam', 'layercam', 'xgradcam', 'eigencam'],
        help='of class activation maps (gradcam for classifiers, else layercam)',
    )
    parser.add_argument(
        '--stage',
        type=int,
        metavar='N',
        help='whose map explains, from 1 (the last one for classifiers, else the mean of all)',
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ...; a GPU where there is one')
    add_config_options(parser)


def run(args: Namespace) -> None:
    """Draw."""
    options = vars(args)
    config, files = part_config([options.pop('checkpoint'), *options.pop('inputs')])
    if len(files) < 2:
        raise InputError('name a checkpoint, and images or folders after it')
    check_config(config)
    with loading(files[0]):
        from casvit_mm.visualization.run import visualize

    visualize(config, files[0], files[1:], **options)
