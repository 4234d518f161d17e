"""The engines that run an exported file; each is imported only where it is used."""

from casvit_mm.deploy.engines.base import (
    Engine,
    EngineInput,
    EngineOptions,
    check_installed,
    require,
)
from casvit_mm.deploy.engines.onnxruntime import OnnxEngine
from casvit_mm.deploy.engines.openvino import OpenVinoEngine, openvino_precisions
from casvit_mm.deploy.engines.registry import ENGINES, engine_of, is_exported, open_engine

__all__ = [
    'ENGINES',
    'Engine',
    'EngineInput',
    'EngineOptions',
    'OnnxEngine',
    'OpenVinoEngine',
    'check_installed',
    'engine_of',
    'is_exported',
    'open_engine',
    'openvino_precisions',
    'require',
]
