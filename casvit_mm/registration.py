"""Our models are in the registries as soon as MMEngine or timm is there, and no sooner.

``import casvit_mm`` alone loads neither torch nor MMEngine, which take seconds: a command line
answers ``--help`` at once, and a program that predicts with an exported file never waits for them.
A job that looks at data alone registers nothing: models and frameworks would take as long as its
work, and a third of a gigabyte.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from casvit_mm.lazy import import_later

__all__ = [
    'REGISTRIES',
    'provide',
    'register_in_time',
    'register_late',
    'register_now',
]

REGISTRIES = ('mmengine', 'timm')

_waiting: list[Callable[[], object]] | None = None  # what registers later; None if all does at once


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


def register_late() -> None:
    """Let models and classes of the tasks wait for :func:`register_now`.

    For a process that looks at data and builds nothing of a config, before it imports a task.
    Nothing changes where MMEngine is imported already.
    """
    global _waiting
    if _waiting is None and not any(name in sys.modules for name in REGISTRIES):
        _waiting = []


def register_now() -> None:
    """Register what :func:`register_late` has kept waiting; nothing else waits from now on."""
    global _waiting
    waiting, _waiting = _waiting, None
    for register in waiting or ():
        register()


def provide(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Import the classes of a task, which registers them; as late as :func:`register_late` says.

    Args:
        package: The package of the task.
        homes: As :func:`casvit_mm.lazy.import_later` takes them.

    Returns:
        The ``__getattr__`` of the package, for what has not been imported.
    """
    find = import_later(package, homes)

    def register() -> None:
        import_module('casvit_mm.models')  # for configs that import the task alone
        vars(sys.modules[package]).update({name: find(name) for name in homes})

    _now_or_later(register)
    return find


def _now_or_later(register: Callable[[], object]) -> None:
    if _waiting is None:
        register()
    else:
        _waiting.append(register)


def _register() -> None:
    from casvit_mm.config.paths import let_hub_find_configs, let_mmengine_find_configs

    def register() -> None:
        import_module('casvit_mm.models')
        let_hub_find_configs()

    _now_or_later(register)
    let_mmengine_find_configs()
