"""An exported file as the model repository of Triton Inference Server or OpenVINO Model Server.

Layouts: https://docs.nvidia.com/deeplearning/triton-inference-server, "Model Repository" and "Model
Configuration"; https://docs.openvino.ai, "Preparing a Model Repository" and "Model Server
Parameters".
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from casvit_mm.deploy.engines import open_engine, require
from casvit_mm.deploy.spec import KEY
from casvit_mm.errors import InputError
from casvit_mm.io import replacing, write_json

__all__ = ['write_repository']

# Triton's names of what onnxruntime and OpenVINO call a type.
_TYPES = {
    **{'tensor(float)': 'FP32', 'tensor(float16)': 'FP16', 'tensor(uint8)': 'UINT8'},
    **{'tensor(int64)': 'INT64', 'tensor(int32)': 'INT32'},
    **{'f32': 'FP32', 'f16': 'FP16', 'u8': 'UINT8', 'i64': 'INT64', 'i32': 'INT32'},
}
_BACKENDS = {'.onnx': 'onnxruntime', '.xml': 'openvino'}


@dataclass(frozen=True)
class _Tensor:
    """An input or output: its name, type as Triton calls it, and sizes, -1 where one is open."""

    name: str
    kind: str
    sizes: tuple[int, ...]

    def __str__(self) -> str:
        sizes = ', '.join(map(str, self.sizes))
        return f'  {{ name: "{self.name}" data_type: TYPE_{self.kind} dims: [ {sizes} ] }}'


def write_repository(path: str | Path, folder: str | Path) -> list[Path]:
    """Write an exported file as the next version of a model in two repositories.

    ``triton/NAME/config.pbtxt`` and ``triton/NAME/1/model.onnx`` are for Triton;
    ``openvino/config.json`` and ``openvino/NAME/1/model.onnx`` for OpenVINO Model Server. An
    OpenVINO file is ``model.xml`` and ``model.bin``. Where there are versions, the next number is
    taken, and other models in ``config.json`` stay.

    Args:
        path: ``.onnx``, or ``.xml`` with its ``.bin`` beside it; NAME is its name without suffix.
        folder: Of both repositories; made.

    Returns:
        The two folders of the new version.

    Raises:
        InputError: If the file is of another kind or damaged, or the folder cannot be written or
            holds a ``config.json`` of another form.
    """
    path, folder = Path(path), Path(folder)
    if path.suffix not in _BACKENDS:
        raise InputError(
            f'--repository takes a file for {" or ".join(_BACKENDS.values())}, and {path} is none; '
            'export with --format onnx or openvino'
        )
    name = re.sub(r'[^\w.-]+', '_', path.stem)
    config = _triton_config(path, name)
    listed = _add_to_list(folder / 'openvino/config.json', name)
    versions = []
    try:
        for server in ('triton', 'openvino'):
            versions.append(_add_version(path, folder / server / name))
    except OSError as error:
        raise InputError(f'cannot write {folder}: {error.strerror}. Name another place') from error
    with replacing(folder / 'triton' / name / 'config.pbtxt') as file:
        file.write(config)
    write_json(folder / 'openvino/config.json', listed)
    return versions


def _add_version(path: Path, model: Path) -> Path:
    """Copy a file into the next version of a model, which is there once it is whole."""
    model.mkdir(parents=True, exist_ok=True)
    numbers = [int(one.name) for one in model.iterdir() if one.name.isdecimal()]
    version = model / str(max(numbers, default=0) + 1)
    unfinished = model / '.unfinished'
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for file in [path, path.with_suffix('.bin')] if path.suffix == '.xml' else [path]:
        shutil.copy(file, unfinished / f'model{file.suffix}')
    return unfinished.rename(version)


def _triton_config(path: Path, name: str) -> str:
    """Return ``config.pbtxt``; sizes begin with the batch, since ``max_batch_size`` is 0.

    The description of the file stands among the parameters, for clients that ask for the config.
    """
    inputs, outputs = _onnx_tensors(path) if path.suffix == '.onnx' else _openvino_tensors(path)
    text = json.dumps(open_engine(path).spec.to_json())
    return '\n'.join(
        [
            f'name: "{name}"',
            f'backend: "{_BACKENDS[path.suffix]}"',
            'max_batch_size: 0',
            'input [',
            ',\n'.join(map(str, inputs)),
            ']',
            'output [',
            ',\n'.join(map(str, outputs)),
            ']',
            f'parameters {{ key: "{KEY}" value: {{ string_value: {text} }} }}',
            '',
        ]
    )


def _onnx_tensors(path: Path) -> tuple[list[_Tensor], list[_Tensor]]:
    session = require('onnxruntime', 'deploy').InferenceSession(
        str(path), providers=['CPUExecutionProvider']
    )
    inputs, outputs = (
        [
            _Tensor(
                one.name,
                _TYPES[one.type],
                tuple(size if isinstance(size, int) else -1 for size in one.shape),
            )
            for one in tensors
        ]
        for tensors in (session.get_inputs(), session.get_outputs())
    )
    return inputs, outputs


def _openvino_tensors(path: Path) -> tuple[list[_Tensor], list[_Tensor]]:
    model = require('openvino', 'export').Core().read_model(path)
    inputs, outputs = (
        [
            _Tensor(
                port.get_any_name(),
                _TYPES[port.element_type.to_string()],
                tuple(s.get_length() if s.is_static else -1 for s in port.partial_shape),
            )
            for port in ports
        ]
        for ports in (model.inputs, model.outputs)
    )
    return inputs, outputs


def _add_to_list(path: Path, name: str) -> dict[str, list[dict[str, dict[str, str]]]]:
    """Return the content of ``config.json`` with one model more; paths begin at the file."""
    models = []
    if path.is_file():
        try:
            models = json.loads(path.read_text())['model_config_list']
            models = [one for one in models if one['config']['name'] != name]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f'{path} is no list of models of OpenVINO Model Server. Name another folder'
            ) from error
    return dict(model_config_list=[*models, dict(config=dict(name=name, base_path=name))])
