"""The formats that a model can be written in, by name."""

from __future__ import annotations

from casvit_mm.export.formats import (
    coreml,
    executorch,
    litert,
    mnn,
    ncnn,
    onnx,
    openvino,
    torch_export,
)
from casvit_mm.export.formats.base import Format

__all__ = ['FORMATS']

FORMATS: dict[str, Format] = {
    module.FORMAT.name: module.FORMAT
    for module in (
        onnx,
        openvino,
        torch_export,
        coreml,
        ncnn,
        mnn,
        litert,
        executorch,
    )
}
