"""Pairs of OpenVINO's files, and ONNX files, in OpenVINO."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.deploy.engines.base import (
    Engine,
    EngineInput,
    EngineOptions,
    loading,
    numpy_type,
    require,
    running,
)
from casvit_mm.deploy.spec import KEY
from casvit_mm.errors import InputError

__all__ = ['OpenVinoEngine', 'openvino_precisions']


def openvino_precisions() -> list[str]:
    """Return what OpenVINO computes in on this processor, such as FP32, BF16 and INT8.

    Raises:
        InputError: If OpenVINO is not installed.
    """
    core = require('openvino', 'export').Core()
    return core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')


class OpenVinoEngine(Engine):
    """A pair of files of ``--format openvino``, or an ONNX file, in OpenVINO on the CPU.

    Attributes:
        precision: ``'fp32'``, ``'bf16'`` or ``'fp16'``, in which OpenVINO is told to compute.
    """

    name = 'openvino'
    suffix = '.xml'
    beside = ('.bin',)
    package = 'openvino'
    extra = 'export'
    precisions = ('fp32', 'bf16', 'fp16')
    device = 'OpenVINO, cpu'

    def __init__(self, path: Path, options: EngineOptions) -> None:
        openvino = require('openvino', 'export')
        core = openvino.Core()
        self._path = path
        with loading(path):
            model = core.read_model(path)
            self._text = model.get_rt_info(KEY).astype(str) if model.has_rt_info(KEY) else None
        self._computes_in = openvino_precisions()
        self.precision = options.precision or self._exported_precision()
        self.inputs = tuple(
            EngineInput(
                one.any_name if one.names else f'input {number}',
                tuple(size.get_length() if size.is_static else None for size in one.partial_shape),
                numpy_type(one.element_type.to_string(), path),
            )
            for number, one in enumerate(model.inputs)
        )
        settings: dict[str, Any] = dict(
            PERFORMANCE_HINT='LATENCY',
            # Without it OpenVINO computes in bfloat16 wherever the processor can.
            INFERENCE_PRECISION_HINT=dict(fp32='f32', fp16='f16', bf16='bf16')[self.precision],
        )
        if options.threads is not None:
            settings['INFERENCE_NUM_THREADS'] = options.threads
        with loading(path):
            self._request = core.compile_model(model, 'CPU', settings).create_infer_request()

    def _exported_precision(self) -> str:
        """Return the precision that the file names; eight-bit and foreign files run in fp32."""
        try:
            precision = self.spec.precision
        except InputError:
            return 'fp32'
        return precision if precision in ('bf16', 'fp16') else 'fp32'

    def check_precision(self) -> None:
        """Refuse a precision that OpenVINO replaces by float32 on this CPU.

        Raises:
            InputError: Naming what the CPU has.
        """
        if self.precision != 'fp32' and self.precision.upper() not in self._computes_in:
            raise InputError(
                f'openvino+{self.precision}: this CPU computes only in '
                f'{", ".join(self._computes_in)}'
            )

    def bind(self, *arrays: np.ndarray) -> Callable[[], Any]:
        """Return a call that runs the file on its inputs; the next one overwrites its outputs."""
        return lambda: self._request.infer(list(arrays), share_inputs=True, share_outputs=True)

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name for an input ``(B, 3, H, W)``."""
        with running(self._path):
            outputs = self.bind(image)()
            return {port.get_any_name(): values.copy() for port, values in outputs.items()}
