"""Serve a model of any task over HTTP, with a page to try it on.

casvit-mm serve work_dirs/quickstart/epoch_3.pth           # http://127.0.0.1:8000/
casvit-mm serve model.onnx --host 0.0.0.0 --port 80        # for the whole network
curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8000/predict

Needs pip install '.[serve]'. A config before the checkpoint replaces the one in it.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from casvit_mm.commands.parser import add_config_options, check_config, part_config
from casvit_mm.console import loading
from casvit_mm.errors import InputError

_LIMITS = ('max_bytes', 'max_pixels', 'queue', 'timeout')


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the job."""
    parser.add_argument(
        'files', nargs='+', metavar='[CONFIG] MODEL', help='checkpoint, .onnx, .xml'
    )
    parser.add_argument('--host', default='127.0.0.1', help='address to listen on (127.0.0.1)')
    parser.add_argument('--port', type=int, default=8000, help='0 takes a free one (8000)')
    parser.add_argument(
        '--score-thr', type=float, metavar='S', help='of objects, if a request names none (0.3)'
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ...; a GPU where there is one')
    parser.add_argument('--threads', type=int, metavar='N', help="of an exported file's engine")
    parser.add_argument(
        '--batch-size', type=int, metavar='N', help='images at once (measured: what pays)'
    )
    parser.add_argument('--max-bytes', type=int, metavar='N', help='of a request (32 MiB)')
    parser.add_argument('--max-pixels', type=int, metavar='N', help='of an image (16.8 million)')
    parser.add_argument('--queue', type=int, metavar='N', help='requests in work (64)')
    parser.add_argument('--timeout', type=float, metavar='S', help='of an answer (30)')
    add_config_options(parser)


def run(args: Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    options = vars(args)
    config, files = part_config(options.pop('files'))
    if len(files) != 1:
        raise InputError(f'name one model, and a CONFIG before it if any; got {files}')
    check_config(config)
    with loading(files[0], 'what serves it'):
        from casvit_mm.serving import Limits, serve

    given = {name: options.pop(name) for name in _LIMITS}
    limits = Limits(**{name: value for name, value in given.items() if value is not None})
    serve(files[0], config, **options, limits=limits)
