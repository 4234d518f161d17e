"""Time models side by side: latency, throughput, parameters, multiply-adds.

casvit-mm benchmark casvit_s --forms eager fused onnxruntime openvino openvino+bf16
casvit-mm benchmark casvit_s --batch 256 --forms eager+amp fused+channels_last+compile+bf16
casvit-mm benchmark casvit_mm::retinanet_casvit_s_coco.py --size 640x480 --by-part
casvit-mm benchmark --peers --forms openvino --out work_dirs/benchmark
casvit-mm benchmark --file model.xml yolo11n.onnx --predict model.xml --image photo.jpg
casvit-mm benchmark casvit_s --official ~/CAS-ViT
casvit-mm benchmark casvit_s --sizes 224 512 768 1024 1536 2048 --out work_dirs/growth
casvit-mm benchmark casvit_s --roofline --device cuda --batch 256 --dtype bf16

MODEL is casvit_xs, _s, _m or _t (the classifier), a config, or any model of timm. A form is made of
words joined by +: eager or fused (norms folded); channels_last; compile; cuda_graph;
fused_optimizer (with --train); onnxruntime, tensorrt or openvino; and a precision, bf16, fp16 or
amp. Everything in one run is timed in turn, so that the ratios hold on a busy machine too.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from casvit_mm.console import loading

_OURS = ['casvit_xs', 'casvit_s', 'casvit_m', 'casvit_t']
_PRECISIONS = ['fp32', 'bf16', 'fp16', 'amp']


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the job."""
    add = parser.add_argument
    add('models', nargs='*', metavar='MODEL', help='as above')
    add(
        '--file',
        dest='files',
        nargs='+',
        default=[],
        metavar='FILE',
        help='the network in .onnx or .xml[+bf16], of any maker',
    )
    add(
        '--predict',
        nargs='+',
        default=[],
        metavar='FILE',
        help='an exported file or checkpoint, from pixels to results',
    )
    add('--score-thr', type=float, metavar='S', help='of --predict: minimum score (0.3)')
    add('--forms', nargs='+', metavar='FORM', help='how to run each (eager)')
    add('--batch', nargs='+', type=int, metavar='N', help='images per call (1)')
    add('--size', nargs='+', metavar='S', help='224, or WIDTHxHEIGHT (224)')
    add('--part', choices=['model', 'backbone'], default='model', help='what of a model (model)')
    add('--device', help='cpu, cuda, cuda:1 ...; a GPU where there is one')
    add('--dtype', choices=_PRECISIONS, default='fp32', help='of forms that name none (fp32)')
    add('--threads', type=int, metavar='N', help='of the CPU, alike for every engine')
    add('--checkpoint', metavar='CKPT', help='weights for a config; random without')
    add('--image', metavar='FILE', help='picture to put in; noise without')
    add('--rounds', type=int, default=20, metavar='N', help='turns of each (20)')
    add('--calls', type=int, default=5, metavar='N', help='timed calls per turn (5)')
    add('--settle', type=float, default=0.05, metavar='S', help='seconds of calls before (0.05)')
    add('--seed', type=int, default=0, help='of the random order (0)')
    add('--peers', nargs='*', choices=_OURS, metavar='OURS', help='timm models near these; all')
    add('--official', metavar='DIR', help='checkout of the published code, timed beside ours')
    add('--preset', choices=['paper'], help='batch 64: on a GPU eager, on a CPU onnxruntime')
    add('--by-part', action='store_true', help='also: backbone, neck, heads, post-processing')
    add('--sizes', nargs='+', metavar='S', help='instead: growth of time and memory over these')
    add('--roofline', action='store_true', help="instead: each stage and the machine's limits")
    add('--train', action='store_true', help='instead: the training step')
    add('--keep-going', action='store_true', help='leave out what fails, and say so')
    add('--out', metavar='DIR', help='for table, JSON and picture')


def run(args: Namespace) -> None:
    """Time and compare."""
    with loading(' '.join(args.models + args.files + args.predict) or 'benchmark'):
        from casvit_mm.benchmark import Settings, benchmark

    benchmark(Settings(**vars(args)))
