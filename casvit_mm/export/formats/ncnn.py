"""Files of ncnn, by pnnx: for the processors and GPUs of phones."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections import Counter
from itertools import groupby
from pathlib import Path

from torch import Tensor

from casvit_mm.deploy.engines import require
from casvit_mm.deploy.engines.ncnn import NcnnEngine, checksums
from casvit_mm.deploy.spec import KEY, Spec
from casvit_mm.errors import InputError
from casvit_mm.export.formats.base import Format
from casvit_mm.export.graphs import Graph
from casvit_mm.export.operators import OPERATORS, write_operators
from casvit_mm.export.tracing import trace, without_shared_layers

__all__ = ['FORMAT']


def _write_ncnn(graph: Graph, example: Tensor, spec: Spec, path: Path) -> None:
    """Write layers, weights and, as JSON, the description.

    Raises:
        InputError: If pnnx stops, or leaves a layer that ncnn lacks.
    """
    weights, described, _, _ = FORMAT.files(path)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        script = Path(folder, 'model.pt')
        trace(without_shared_layers(graph), example).save(str(script))
        text = _convert(script, tuple(example.shape), spec.precision == 'fp16', path, weights)
    path.write_text(_with_names(path.read_text(), graph.names))
    # Types of ncnn are single words; pnnx keeps torch's name of what it cannot convert.
    left = sorted(set(re.findall(r'^\w+(?:\.|::)\S+', path.read_text(), re.MULTILINE)))
    if left:
        raise InputError(
            f'ncnn has no layer for {", ".join(left)} of this model. Take --format onnx\n'
            f'pnnx says: {text.strip()[-300:]}'
        )
    content = {KEY: json.loads(spec.to_json()), 'crc32': checksums([weights, path])}
    described.write_text(json.dumps(content, indent=1), encoding='utf-8')
    write_operators(path, 'Vulkan', *_split_by_gpu(path.read_text()))


def _convert(
    script: Path, shape: tuple[int, ...], halves: bool, layers: Path, weights: Path
) -> str:
    """Run pnnx, a program of its own, and return what it says."""
    command = [
        require('pnnx', 'ncnn').EXEC_PATH,
        str(script.resolve()),
        f'inputshape=[{",".join(map(str, shape))}]f32',
        f'fp16={int(halves)}',
        f'ncnnparam={layers.resolve()}',
        f'ncnnbin={weights.resolve()}',
    ]
    done = subprocess.run(command, cwd=script.parent, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not layers.is_file() or not weights.is_file():
        said = (done.stderr or done.stdout).strip()[-300:]
        raise InputError(
            f'pnnx cannot convert this model (exit status {done.returncode}): {said}\n'
            'Take --format onnx'
        )
    return done.stdout + done.stderr


def _with_names(layers: str, outputs: tuple[str, ...]) -> str:
    """Return the text of a ``.param`` whose input and outputs have our names.

    A line is type, name, numbers of inputs and outputs, their names, and settings.
    """
    names = {'in0': 'image', **{f'out{number}': name for number, name in enumerate(outputs)}}
    lines = layers.splitlines()
    for number, line in enumerate(lines[2:], 2):
        words = line.split()
        end = 4 + int(words[2]) + int(words[3])
        blobs = [names.get(word, word) for word in words[4:end]]
        lines[number] = ' '.join([*words[:4], *blobs, *words[end:]])
    return '\n'.join([*lines, ''])


def _split_by_gpu(layers: str) -> tuple[int, Counter[str], Counter[str]]:
    """Return the number of a GPU's parts, and the layers within and outside of them.

    Args:
        layers: Text of a ``.param``. Whether it has a form for Vulkan each layer of ncnn says.
    """
    kinds = [line.split()[0] for line in layers.splitlines()[2:]]  # as they are run
    known = {kind: _runs_on_gpu(kind) for kind in set(kinds)}
    within = Counter(kind for kind in kinds if known[kind])
    outside = Counter(kind for kind in kinds if not known[kind])
    return sum(on_gpu for on_gpu, _ in groupby(kinds, key=known.__getitem__)), within, outside


def _runs_on_gpu(kind: str) -> bool:
    layer = require('ncnn', 'ncnn').create_layer(kind)
    return layer is not None and layer.support_vulkan


FORMAT = Format(
    'ncnn',
    NcnnEngine.suffix,
    _write_ncnn,
    precisions=('fp32', 'fp16'),
    packages=('pnnx', 'ncnn'),
    engine=NcnnEngine,
    extra='ncnn',
    beside=(*NcnnEngine.beside, f'.ncnn{OPERATORS}'),
    chooses=False,
    no_int8='its quantiser, the programs ncnn2table and ncnn2int8, is in no Python package. Build '
    'ncnn and use them on the fp32 files, or take --format mnn',
    no_open_sizes='files of ncnn have a fixed size here',
    no_regions='files of ncnn cannot choose the regions of a first stage',
)
