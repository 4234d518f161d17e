"""Files of MNN, by way of ONNX: for the processors and GPUs of phones.

The converter is called in a process of its own, and not by the command ``mnnconvert`` of the
package: that installs a further package unasked, and sends its settings and a number of the machine
to the maker.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from casvit_mm.deploy.engines.mnn import MnnEngine
from casvit_mm.deploy.spec import Spec
from casvit_mm.errors import InputError
from casvit_mm.export.formats.base import Format
from casvit_mm.export.formats.onnx import write_onnx
from casvit_mm.export.graphs import Graph

__all__ = ['FORMAT']

_CONVERTER = 'import sys, _tools; _tools.mnnconvert(sys.argv)'
# Its options by precision; weights of eight bits have a scale per output channel.
_PRECISIONS = dict(fp32=[], fp16=['--fp16'], int8=['--weightQuantBits', '8'])


def _write_mnn(graph: Graph, example: Tensor, spec: Spec, path: Path) -> None:
    """Write a file; the description is what MNN calls ``bizCode``.

    Raises:
        InputError: If MNN's converter lacks an operator.
    """
    onnx_file = path.with_suffix('.onnx')
    try:
        write_onnx(graph, example.float(), spec, onnx_file)
        options = ['-f', 'ONNX', '--modelFile', str(onnx_file), '--MNNModel', str(path)]
        options += _PRECISIONS[spec.precision]
        _convert([*options, '--bizCode', spec.to_json()], path)
    finally:
        onnx_file.unlink(missing_ok=True)


def _convert(arguments: Sequence[str], written: Path) -> None:
    """Call MNN's converter, which may end its process.

    Raises:
        InputError: If it writes no file.
    """
    done = subprocess.run(
        [sys.executable, '-c', _CONVERTER, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or not written.is_file():
        said = (done.stderr or done.stdout).strip()[-300:]
        raise InputError(
            f'MNN cannot write this model (exit status {done.returncode}): {said}\n'
            'Take --format onnx'
        )


FORMAT = Format(
    'mnn',
    MnnEngine.suffix,
    _write_mnn,
    precisions=tuple(_PRECISIONS),
    packages=('onnx', 'MNN'),
    engine=MnnEngine,
    extra='mnn',
    chooses=False,
    no_regions='files of MNN cannot choose the regions of a first stage',
)
