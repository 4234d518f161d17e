"""How fast a model is: in which form, beside which other models, and where its time goes."""

from casvit_mm.benchmark.run import benchmark
from casvit_mm.benchmark.settings import Settings

__all__ = ['Settings', 'benchmark']
