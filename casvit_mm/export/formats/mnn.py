"""Files of MNN, by way of ONNX: for the processors and GPUs of phones.

The converter and the quantiser are called in a process of their own, and not by the commands
``mnnconvert`` and ``mnnquant`` of the package: these install a further package unasked, and send
their settings and a number of the machine to the maker.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from casvit_mm.deploy.engines.mnn import MnnEngine
from casvit_mm.deploy.spec import Spec
from casvit_mm.errors import InputError
from casvit_mm.export.formats.base import Format
from casvit_mm.export.formats.onnx import write_onnx
from casvit_mm.export.graphs import Graph
from casvit_mm.export.quantize import stays_exact

__all__ = ['FORMAT']


def _write_mnn(graph: Graph, example: Tensor, spec: Spec, path: Path) -> None:
    """Write a file; the description is what MNN calls ``bizCode``.

    Raises:
        InputError: If MNN's converter lacks an operator.
    """
    onnx_file = path.with_suffix('.onnx')
    try:
        write_onnx(graph, example.float(), spec, onnx_file)
        options = ['-f', 'ONNX', '--modelFile', str(onnx_file), '--MNNModel', str(path)]
        options += ['--fp16'] * (spec.precision == 'fp16')
        _call('mnnconvert(sys.argv)', [*options, '--bizCode', spec.to_json()], path)
    finally:
        onnx_file.unlink(missing_ok=True)


def _call(function: str, arguments: Sequence[str], written: Path) -> None:
    """Call one of MNN's tools, which may end their process.

    Raises:
        InputError: If it writes no file.
    """
    code = f'import sys, _tools; _tools.{function}'
    done = subprocess.run(
        [sys.executable, '-c', code, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or not written.is_file():
        said = (done.stderr or done.stdout).strip()[-300:]
        raise InputError(
            f'MNN cannot write this model (exit status {done.returncode}): {said}\n'
            'Take --format onnx'
        )


def _quantize_mnn(path: Path, inputs: Sequence[np.ndarray]) -> None:
    """Quantise the convolutions of a file in place with MNN's tool.

    Args:
        path: Written in float32.
        inputs: BGR pixels as the file takes them, uint8 ``(1, 3, H, W)``, all of one size.

    Raises:
        InputError: If they are no pixels, or of several sizes.
    """
    sizes = {image.shape for image in inputs}
    if len(sizes) > 1 or inputs[0].dtype != np.uint8:
        raise InputError(
            '--format mnn calibrates on pixels of one size: name it, as in --size 640x480, and '
            'leave --preprocess outside out'
        )
    quantized = path.with_suffix('.int8.mnn')
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        photos = Path(folder, 'photos')
        photos.mkdir()
        for number, image in enumerate(inputs):
            cv2.imwrite(str(photos / f'{number}.png'), image[0].transpose(1, 2, 0))
        settings = Path(folder, 'settings.json')
        skipped = _floating_operators(path, Path(folder, 'model.json'))
        settings.write_text(json.dumps(_settings(inputs, str(photos), skipped)))
        _call('mnnquant(sys.argv)', [str(path), str(quantized), str(settings)], quantized)
    quantized.replace(path)


def _floating_operators(path: Path, dump: Path) -> list[str]:
    """Return the names of all operators of a file but the convolutions that eight bits are for."""
    options = ['-f', 'MNN', '--modelFile', str(path), '--JsonFile', str(dump)]
    _call('mnnconvert(sys.argv)', options, dump)
    operators = json.loads(dump.read_text(encoding='utf-8'))['oplists']
    return [
        one['name'] for one in operators if one['type'] != 'Convolution' or stays_exact(one['name'])
    ]


def _settings(
    inputs: Sequence[np.ndarray], folder: str, skipped: Sequence[str]
) -> dict[str, object]:
    """Return the settings of MNN's quantiser, see "Offline quantization" in its documentation."""
    height, width = inputs[0].shape[2:]
    return dict(
        format='BGR',
        mean=[0.0, 0.0, 0.0],
        normal=[1.0, 1.0, 1.0],
        width=width,
        height=height,
        path=folder,
        used_image_num=len(inputs),
        feature_quantize_method='KL',
        weight_quantize_method='MAX_ABS',
        skip_quant_op_names=list(skipped),
    )


FORMAT = Format(
    'mnn',
    MnnEngine.suffix,
    _write_mnn,
    precisions=('fp32', 'fp16', 'int8'),
    packages=('onnx', 'MNN'),
    engine=MnnEngine,
    extra='mnn',
    quantize=_quantize_mnn,
    chooses=False,
    classes_in_int8='in int8 MNN writes classifiers alone: its quantiser ends in a fault for maps',
    no_regions='files of MNN cannot choose the regions of a first stage',
)
