"""Write a model for another engine, and compare the file with PyTorch before it is kept.

casvit-mm export CKPT --format onnx                         # beside the checkpoint
casvit-mm export casvit_mm::maskrcnn_casvit_s_coco.py CKPT --format onnx --out model.onnx
casvit-mm export CKPT --format openvino --out model.xml --size 640x480 --bf16
casvit-mm export CKPT --format onnx --out model.onnx --int8 --calibrate photos/
casvit-mm export CKPT --format fastest --out model          # of ONNX and OpenVINO, here
casvit-mm export CKPT --format fastest --allow-error 0.02 --calibrate photos/

The file needs no mm package any more: from casvit_mm.deploy import load; load('model.onnx')(image)
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from casvit_mm.cli import job_command
from casvit_mm.commands.parser import add_config_options, check_config, part_config
from casvit_mm.console import loading
from casvit_mm.errors import InputError

if TYPE_CHECKING:
    from casvit_mm.export.export import Exported

_FORMATS = [
    *('onnx', 'openvino', 'torch-export', 'coreml'),
    *('ncnn', 'mnn', 'litert', 'executorch', 'fastest'),
]


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the job."""
    parser.add_argument(
        'files',
        nargs='+',
        metavar='[CONFIG] CKPT',
        help='a checkpoint holds its config; CONFIG alone gives random weights, for timing',
    )
    parser.add_argument(
        '--format', required=True, choices=_FORMATS, help='see docs/howto/export.md'
    )
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='file, beside CKPT by default; with the ending of its format, of fastest without',
    )
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        '--size', metavar='WxH', help='fixed input size, batch 1 (a classifier: that of its crop)'
    )
    sizes.add_argument(
        '--dynamic', action='store_true', help='any height, width and batch (others)'
    )
    parser.add_argument(
        '--preprocess',
        choices=['inside', 'outside'],
        default='inside',
        help='normalisation and channel order in the file (default) or left to the caller',
    )
    parser.add_argument(
        '--nms',
        choices=['inside', 'outside'],
        help='objects are chosen in the file, or, of a detector of one stage, by deploy: the '
        'default of formats that cannot choose',
    )
    parser.add_argument('--backbone', action='store_true', help='the backbone alone')
    precisions = parser.add_mutually_exclusive_group()
    for name, text in (
        ('fp16', 'weights and networks in half precision'),
        ('bf16', 'the engine computes in bfloat16'),
        ('int8', '8-bit weights and activations, with --calibrate; of mnn weights alone, without'),
    ):
        precisions.add_argument(
            f'--{name}', dest='precision', action='store_const', const=name, help=text
        )
    parser.add_argument('--calibrate', metavar='FOLDER', help='images for --int8')
    parser.add_argument(
        '--allow-error',
        type=float,
        metavar='E',
        help='share of predictions that may differ; fastest then chooses the precision as well',
    )
    parser.add_argument(
        '--images', metavar='FOLDER', help="to compare on (the config's test data, or generated)"
    )
    parser.add_argument(
        '--repository', metavar='DIR', help='also for Triton and OpenVINO Model Server, in DIR'
    )
    add_config_options(parser)


def run(args: Namespace) -> None:
    """Export, and print what was written and what comes next."""
    options = vars(args)
    config, files = part_config(options.pop('files'))
    if len(files) > 1:
        raise InputError(f'name one checkpoint, and a CONFIG before it if any; got {files}')
    check_config(config)
    with loading((files or [str(config)])[0]):
        from casvit_mm.deploy.engines import engine_of
        from casvit_mm.export import FORMATS, export, export_fastest
        from casvit_mm.export.repository import write_repository

    kind, out = options.pop('format'), options.pop('out')
    repository = options.pop('repository')
    if repository and kind not in ('onnx', 'openvino', 'fastest'):
        raise InputError(f'--repository is for --format onnx or openvino, got {kind}')
    precision, calibrate = options.pop('precision'), options.pop('calibrate')
    precisions = [precision or 'fp32']
    if kind == 'fastest' and args.allow_error is not None:
        if precision:
            raise InputError(f'--allow-error chooses the precision: leave --{precision} out')
        precisions = ['fp32', 'bf16', *(['int8'] if calibrate else [])]
    if out is None:
        suffix = '' if kind == 'fastest' else FORMATS[kind].suffix
        out = _beside((files or [str(config)])[0], precisions[0]) + suffix

    def write(kind: str, out: str, precision: str) -> Exported:
        images = calibrate if precision == 'int8' or len(precisions) == 1 else None
        options.update(format=kind, out=out, precision=precision, calibrate=images)
        return export(config, *files, **options)

    if kind == 'fastest':
        allowed = args.allow_error
        if allowed is not None:
            options['allow_error'] = 1.0  # all are compared, then judged
        fastest = export_fastest(write, out, precisions, allowed)
        print(fastest)
        done = fastest.exported
    else:
        done = write(kind, out, *precisions)
        print(done)
    if repository:
        for version in write_repository(done.path, repository):
            print(f'  {version}')
    engine = engine_of(done.path)
    if engine is not None and not engine.executes:
        print('\nnext:')
        if done.spec.task != 'backbone':
            print(f'  {job_command("predict", done.path, "photos/")}')
            print(f'  {job_command("serve", done.path)}')
        print(f'  {job_command("benchmark", "--file", done.path)}')


def _beside(source: str, precision: str) -> str:
    """Return the file to write, without its ending: beside a checkpoint, else here."""
    name = source.rpartition('::')[2]
    path = Path(Path(name).name if '://' in name or '::' in source else name).with_suffix('')
    return str(path) if precision == 'fp32' else f'{path}-{precision}'
