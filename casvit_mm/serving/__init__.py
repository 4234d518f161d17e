"""A model of any task behind HTTP: ``serve('model.onnx')``."""

from casvit_mm.serving.limits import Limits
from casvit_mm.serving.run import serve

__all__ = ['Limits', 'serve']
