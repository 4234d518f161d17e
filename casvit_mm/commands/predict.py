"""Predict on images, folders, videos and streams, with a model of any task.

casvit-mm predict work_dirs/quickstart/epoch_3.pth photos/
casvit-mm predict model.onnx a.jpg 'photos/**/*.png' list.txt clip.mp4 --out-dir results
casvit-mm predict CONFIG CKPT https://example.org/a.jpg rtsp://camera/1 0 --score-thr 0.5
tools/dist_predict.sh 8 CKPT photos/ --out-dir results

Writes predictions.json, pictures, annotated videos, and by task label PNGs or a CSV and contact
sheets. A config before the checkpoint replaces the one in it. Status 1: a file could not be read.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from casvit_mm.commands.parser import add_config_options, add_launcher, check_config, part_config
from casvit_mm.console import loading
from casvit_mm.datasets.writers import FORMATS
from casvit_mm.errors import InputError


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the job."""
    parser.add_argument('model', metavar='[CONFIG] MODEL', help='checkpoint, .onnx, .xml')
    parser.add_argument(
        'sources',
        nargs='+',
        metavar='SOURCE',
        help='image, folder, pattern, .txt list, video, address, number of a webcam',
    )
    parser.add_argument('--out-dir', metavar='DIR', help='results (work_dirs/predictions/<model>)')
    parser.add_argument(
        '--score-thr', type=float, metavar='S', help='minimum score of an object (0.3)'
    )
    parser.add_argument(
        '--max-dets', type=int, metavar='N', help='objects per image, where the config keeps fewer'
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ...; a GPU where there is one')
    parser.add_argument('--batch-size', type=int, default=1, metavar='N', help='images at once (1)')
    parser.add_argument(
        '--no-pictures', dest='pictures', action='store_false', help='write data only'
    )
    parser.add_argument(
        '--every', type=int, default=1, metavar='N', help='every n-th frame of a video'
    )
    parser.add_argument(
        '--track', action='store_true', help='follow and count the objects of videos'
    )
    parser.add_argument('--tracker', metavar='NAME', help='how: bytetrack (default) or ocsort')
    parser.add_argument(
        '--track-thr', type=float, metavar='S', help='minimum score to start a track (--score-thr)'
    )
    parser.add_argument('--max-frames', type=int, metavar='N', help='of a video, no more than N')
    parser.add_argument(
        '--tile', type=int, metavar='PX', help='read larger images by tiles of this side'
    )
    parser.add_argument(
        '--overlap', type=float, metavar='F', help='what neighbouring tiles have in common (0.2)'
    )
    parser.add_argument(
        '--wait',
        type=float,
        default=60,
        metavar='SECONDS',
        help='how long a stream is waited for that stalls or drops the connection (60)',
    )
    parser.add_argument(
        '--labels',
        choices=FORMATS,
        help='files for a labelling tool, in the folder of that name in --out-dir',
    )
    add_config_options(parser)
    add_launcher(parser)


def run(args: Namespace) -> None:
    """Predict; status 1 if a file could not be read (2 of several processes), 130 after Ctrl-C."""
    options = vars(args)
    tracker = options.pop('tracker')
    options['track'] = tracker or ('bytetrack' if args.track else None)
    options['config'], files = part_config([options.pop('model'), *options.pop('sources')])
    model, *sources = files
    if not sources:
        raise InputError('after CONFIG and the checkpoint, name what to predict on')
    check_config(options['config'])
    with loading(model, 'what predicts'):
        from casvit_mm.prediction.files import predict
        from casvit_mm.prediction.options import PredictOptions

    found = predict(model, sources, PredictOptions(**options))
    if found.interrupted:
        sys.exit(130)
    if found.unreadable:
        # Of several processes a launcher takes 1 for a fault, and may start all of them again.
        sys.exit(1 if args.launcher == 'none' else 2)
