"""How fast a model is: in which form, beside which other models, and where its time goes."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from casvit_mm.benchmark.run import benchmark
    from casvit_mm.benchmark.settings import Settings

__all__ = ['Settings', 'benchmark']

# Imported when asked for: what the host is, gpu-report asks without any model.
_HOMES = {'Settings': 'casvit_mm.benchmark.settings', 'benchmark': 'casvit_mm.benchmark.run'}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(_HOMES[name]), name)
