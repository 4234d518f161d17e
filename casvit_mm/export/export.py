"""From a config and a checkpoint to a compared file: the library behind ``casvit-mm export``."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from casvit_mm.console import step
from casvit_mm.deploy.engines import check_installed
from casvit_mm.deploy.images import read_image, resize
from casvit_mm.deploy.predictor import (
    constant_size,
    fill_colour,
    load,
    prepare_tensor,
    size_steps,
)
from casvit_mm.deploy.spec import Spec
from casvit_mm.errors import InputError
from casvit_mm.export.compare import TOLERANCES, Comparison, Tolerance, compare
from casvit_mm.export.formats import FORMATS, Format
from casvit_mm.export.graphs import Graph, build_graph
from casvit_mm.export.head_maps import outside_settings
from casvit_mm.export.images import GENERATED, images_in, sample_images
from casvit_mm.export.loading import Loaded, load_model
from casvit_mm.io import check_writable, pixel_limit

__all__ = ['Exported', 'export', 'move', 'write_graph']

_NUM_COMPARED = 8  # images
_NUM_JUDGED = 32  # images, where the user says how much they may differ
_NUM_CALIBRATED = 128  # images
_MIN_SIDE = 32  # pixels of a fixed size


@dataclass(frozen=True)
class Exported:
    """What :func:`export` wrote.

    Attributes:
        path: The file; OpenVINO's has its ``.bin`` beside it.
        spec: What it says of itself.
        outputs: Names of its outputs.
        comparison: With PyTorch; None where the file cannot be run here.
        compared_on: Where the images of the comparison come from.
        example: An input that was compared, ``(1, 3, H, W)``; None where nothing was.
        note: What the user should know; empty if there is nothing.
        seconds: Duration of the export.
    """

    path: Path
    spec: Spec
    outputs: tuple[str, ...]
    comparison: Comparison | None
    compared_on: str
    example: np.ndarray | None = field(repr=False)
    note: str
    seconds: float

    def __str__(self) -> str:
        spec = self.spec
        height, width = spec.size or ('height', 'width')
        batch = 1 if spec.size else 'batch'
        pixels = 'uint8, BGR from 0 to 255'
        order = 'RGB' if spec.rgb else 'BGR'
        normal = f'float32, {order}, minus mean, divided by deviation'
        lines = [
            f'{self.path}: {spec.task}, {spec.precision}, {self.seconds:.0f} s',
            f'  input   image ({batch}, 3, {height}, {width}) '
            f'{pixels if spec.preprocess == "inside" else normal}',
            f'  outputs {", ".join(self.outputs)}',
        ]
        if spec.least > 1:
            lines.append(f'  sides   of {spec.least} px or more')
        if self.comparison is None:
            lines.append('  not executed: Core ML runs on Apple devices only')
        else:
            lines.append(f'  compared with PyTorch on {self.compared_on}, {self.comparison}')
        return '\n'.join(lines + [f'  note: {self.note}'] * bool(self.note))


def export(
    config: str | None,
    checkpoint: str | None = None,
    *,
    format: str,
    out: str,
    size: str | None = None,
    dynamic: bool = False,
    preprocess: str = 'inside',
    nms: str | None = None,
    backbone: bool = False,
    precision: str = 'fp32',
    calibrate: str | None = None,
    images: str | None = None,
    allow_error: float | None = None,
    cfg_options: dict[str, Any] | None = None,
) -> Exported:
    """Write a model for another engine, run the file on images, and keep it if it agrees.

    Args:
        config: Config file; None takes the one that the checkpoint holds.
        checkpoint: File of weights; None exports random ones, for timing.
        format: One of :data:`casvit_mm.export.FORMATS`.
        out: File to write, with the suffix of the format.
        size: Fixed size of the input as ``'WIDTHxHEIGHT'``, for a batch of one. None takes the size
            that the test pipeline gives every image, as that of a classifier does; where sizes
            differ, batch, height and width stay open.
        dynamic: Leave batch, height and width open in any case.
        preprocess: ``'inside'``: normalisation and channel order are part of the file;
            ``'outside'``: the caller does both.
        nms: ``'inside'``: objects are chosen in the file; ``'outside'``: by ``casvit_mm.deploy``,
            for engines that have no non-maximum suppression. None: inside where the format can.
        backbone: Export the backbone alone, with its feature maps as outputs.
        precision: ``'fp32'``, ``'fp16'``, ``'bf16'`` or ``'int8'``.
        calibrate: Folder of images that ``'int8'`` is calibrated on, where the format quantises
            more than the weights.
        images: Folder of images to compare on; None takes the config's test data, or generated
            images where they are absent.
        allow_error: Maximum share of the predictions that may differ from PyTorch's, and of the
            mean difference of the outputs; None takes that of the precision, :data:`TOLERANCES`.
        cfg_options: Config entries to set, by dotted name.

    Raises:
        InputError: If anything the user gave cannot work, or the file does not agree with PyTorch;
            what was at ``out`` before is then left as it was.
    """
    start = time.perf_counter()
    kind = _check_request(format, out, precision, calibrate)
    _check_allowed(allow_error, checkpoint)
    with step(f'{checkpoint or config}: building the model'):
        loaded = load_model(config, checkpoint, cfg_options)
        spec = _complete(loaded, kind, size, dynamic, preprocess, backbone, precision)
        if _chooses_outside(kind, spec.task, nms):
            spec = replace(spec, outside=outside_settings(loaded.model))
        graph = build_graph(loaded.cfg, loaded.model, spec, _dtype(kind, precision))
    if not kind.single_rows and spec.size is None:
        spec = replace(spec, least=graph.stride + 1)
    with _unfinished(Path(out), kind) as path:
        with step(f'writing {format}, {precision}'):
            if calibrate is None:
                write_graph(kind, graph, spec, path)
            else:
                _write_calibrated(kind, graph, spec, path, calibrate)
        comparison, source, example = None, '', None
        if kind.engine is not None:
            with step('comparing the file with PyTorch'):
                comparison, source, example = _compare(loaded, path, spec, images, allow_error)
            comparison.check(_tolerance(spec, checkpoint is not None, allow_error), precision)
    seconds = time.perf_counter() - start
    return Exported(Path(out), spec, graph.names, comparison, source, example, loaded.note, seconds)


def _compare(
    loaded: Loaded, path: Path, spec: Spec, images: str | None, allow_error: float | None
) -> tuple[Comparison, str, np.ndarray]:
    """Return how a file compares with PyTorch, on which images, and an input of them.

    Raises:
        InputError: If images are to judge it, and there are none but generated ones.
    """
    number = _NUM_COMPARED if allow_error is None else _NUM_JUDGED
    with sample_images(loaded.cfg, images, number) as (files, source):
        if allow_error is not None and source == GENERATED:
            raise InputError(
                '--allow-error: the test data of the config is not here to judge by; name '
                'a folder such as the model will see: --images FOLDER'
            )
        predictor = load(path, trusted=True)
        comparison = compare(loaded.model, predictor, files)
        return comparison, source, prepare_tensor(predictor.prepare(files[0]).pixels, spec)


def _chooses_outside(kind: Format, task: str, nms: str | None) -> bool:
    """Return whether objects are chosen by ``casvit_mm.deploy`` among what the file says."""
    if nms == 'outside' and task != 'detection':
        raise InputError(f'--nms outside: a model of {task} has no suppression to leave out')
    if nms == 'inside' and not kind.chooses:
        raise InputError(
            f'--nms inside: files of --format {kind.name} cannot choose objects; leave it out, '
            'casvit_mm.deploy chooses them'
        )
    return task == 'detection' and (nms == 'outside' or not kind.chooses)


def _check_allowed(allow_error: float | None, checkpoint: str | None) -> None:
    if allow_error is None:
        return
    if not 0 <= allow_error <= 1:
        raise InputError(
            f'--allow-error {allow_error:g}: write a share from 0 to 1; 0.01 lets one in a hundred '
            'predictions differ'
        )
    if checkpoint is None:
        raise InputError(
            '--allow-error needs a CKPT: what random weights predict says nothing of the error of '
            'trained ones'
        )


def _tolerance(spec: Spec, trained: bool, allow_error: float | None) -> Tolerance:
    if allow_error is not None:
        return Tolerance(allow_error, 1 - allow_error)
    tolerance = TOLERANCES[spec.precision]
    if spec.task == 'detection' and not trained:
        # Random weights score all places alike, so rounding decides which of them are kept.
        return replace(tolerance, agreement=0.0)
    return tolerance


def _check_request(format: str, out: str, precision: str, calibrate: str | None) -> Format:
    """Refuse a request that cannot work, before anything is built."""
    kind = FORMATS[format]
    if not Path(out).name.endswith(kind.suffix):
        raise InputError(f'--out {out}: a file of --format {format} ends in {kind.suffix}')
    check_writable({'--out': out}, {})
    if precision == 'int8' and kind.no_int8:
        raise InputError(f'--format {format} cannot be written in int8 here: {kind.no_int8}')
    if precision not in kind.precisions:
        raise InputError(
            f'--format {format} cannot be written in {precision}; it has '
            f'{", ".join(kind.precisions)}'
        )
    if calibrate is not None and precision == 'int8' and not kind.calibrates:
        raise InputError(
            f'--format {format} stores the weights alone in eight bits, for which it needs no '
            'images: leave --calibrate out'
        )
    if (precision == 'int8' and kind.calibrates) != (calibrate is not None):
        raise InputError(
            '--int8 and --calibrate FOLDER belong together: ranges of values are taken from images '
            'such as the model will see'
        )
    if calibrate is not None:
        images_in(calibrate, 1, '--calibrate')
    if kind.engine is not None:
        kind.engine.check()
    for package in kind.needs(precision):
        check_installed(package, kind.extra)
    return kind


def _complete(
    loaded: Loaded,
    kind: Format,
    size: str | None,
    dynamic: bool,
    preprocess: str,
    backbone: bool,
    precision: str,
) -> Spec:
    """Return the spec with task, size, pre-processing and precision as requested."""
    spec = replace(loaded.spec, preprocess=preprocess, precision=precision)
    if backbone:
        spec = replace(spec, task='backbone', classes=())
    if dynamic and kind.no_open_sizes:
        raise InputError(f'{kind.no_open_sizes}: leave --dynamic out')
    constant = constant_size(spec)
    fixed = constant if size is None else _parse_size(size)
    if constant not in (None, fixed) and spec.steps[-1]['op'] == 'pad':
        # Images are fitted into the size and padded either way.
        spec, constant = replace(spec, steps=spec.steps[:-1]), None
    if size is not None and constant not in (None, fixed):
        raise InputError(
            f'--size {size}: the test pipeline of {loaded.cfg.filename} gives every image '
            f'{constant[1]}x{constant[0]}. Leave --size out, or change the pipeline by '
            '--cfg-options'
        )
    spec = replace(spec, size=None if dynamic else fixed)
    kind.refuse(spec, getattr(loaded.model, 'roi_head', None) is not None and not backbone)
    return spec


def _parse_size(size: str) -> tuple[int, int]:
    """Return height and width."""
    match = re.fullmatch(r'(\d+)x(\d+)', size)
    if match is None or min(map(int, match.groups())) < _MIN_SIDE:
        raise InputError(
            f'--size {size}: write width and height in pixels, {_MIN_SIDE} or more, as in 640x480'
        )
    width, height = map(int, match.groups())
    if width * height > pixel_limit():
        raise InputError(f'--size {size}: images have no more than {pixel_limit():,} pixels')
    return height, width


def _dtype(kind: Format, precision: str) -> torch.dtype:
    """Return the type in which the networks of the graph compute."""
    halves = dict(fp16=torch.float16, bf16=torch.bfloat16)
    return halves.get(precision, torch.float32) if kind.casts else torch.float32


def write_graph(kind: Format, graph: Graph, spec: Spec, path: Path) -> None:
    """Write a graph in floating point, or with the weights alone in eight bits."""
    # A graph of open size is traced at one that has no side, batch or map of 1.
    shape = (1, 3, *spec.size) if spec.size else (2, 3, 2 * graph.stride, 3 * graph.stride)
    example = torch.randint(0, 256, shape, dtype=torch.uint8)
    if spec.preprocess == 'outside':
        example = example.float() / 128 - 1
    kind.write(graph, example, spec, path)


def _write_calibrated(kind: Format, graph: Graph, spec: Spec, path: Path, folder: str) -> None:
    """Write a graph with eight-bit weights and activations, calibrated on images."""
    inputs = []
    for file in images_in(folder, _NUM_CALIBRATED, '--calibrate'):
        resized = resize(read_image(file), size_steps(spec), fill_colour(spec))
        inputs.append(prepare_tensor(resized.pixels, spec))
    if kind.write_int8 is not None:
        kind.write_int8(graph, inputs, spec, path)
        return
    assert kind.quantize is not None  # a format without has no such precision
    write_graph(kind, graph, spec, path)
    kind.quantize(path, inputs)


@contextmanager
def _unfinished(out: Path, kind: Format) -> Iterator[Path]:
    """Yield a temporary path beside ``out``; move what is there to ``out`` if nothing is raised."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix='.export-') as folder:
        path = Path(folder, out.name)
        try:
            yield path
            move(kind.files(path), kind.files(out))
        except OSError as error:
            raise InputError(
                f'cannot write {out}: {error.strerror}. Make room or name another place.'
            ) from error


def move(sources: Sequence[Path], targets: Sequence[Path]) -> None:
    """Move the files of a model to their targets, which are replaced; the one that is named last.

    Of several files the old one of that name goes first: nobody can load half of each model.
    """
    if len(targets) > 1 and targets[-1].is_file():
        targets[-1].unlink()
    for source, target in zip(sources, targets, strict=True):
        if target.is_dir():  # an older .mlpackage
            shutil.rmtree(target)
        source.replace(target)
