"""Our models are in the registries as soon as MMEngine or timm is there, and no sooner.

``import casvit_mm`` alone loads neither torch nor MMEngine, which take seconds: a command line
answers ``--help`` at once, and a program that predicts with an exported file never waits for them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ['REGISTRIES', 'register_in_time']

REGISTRIES = ('mmengine', 'timm')


class _Before(MetaPathFinder, Loader):
    """Imports the models before the first of :data:`REGISTRIES`, then that one as it is.

    What the models import themselves, such as :mod:`casvit_mm.weights`, imports neither at its top:
    it would be half loaded when they ask for it.
    """

    waits = True

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self) if self.waits and name in REGISTRIES else None

    def exec_module(self, module: ModuleType) -> None:
        self.waits = False
        name = module.__name__
        del sys.modules[name]
        _register()
        sys.modules[name] = import_module(name)


def register_in_time() -> None:
    """Register the models now if there is a registry, else before one is imported."""
    if any(name in sys.modules for name in REGISTRIES):
        _register()
    elif not any(isinstance(finder, _Before) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Before())


def _register() -> None:
    from casvit_mm.config.paths import let_mmengine_find_configs

    import_module('casvit_mm.models')
    let_mmengine_find_configs()
