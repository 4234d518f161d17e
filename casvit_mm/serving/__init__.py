"""A model of any task behind HTTP, with a page to try it on: ``serve('model.onnx')``."""

from casvit_mm.serving.limits import Limits
from casvit_mm.serving.run import serve

__all__ = ['Limits', 'serve']
