"""Import paths of version 0.1 that configs, notebooks and other projects may still use.

They lead to the modules that took their place, and warn once. The rest was internal.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ['MOVED', 'MovedWarning', 'keep_old_paths']

# Old path -> new path, both below casvit_mm; the first that matches counts. A package stands for
# its modules as well.
MOVED = {
    'config_files': 'config.paths',
    'detection.analysis': 'detection.evaluation.analysis',
    'safe_loading': 'weights.mmengine_loading',
    'seeing.fields': 'visualization.receptive_fields',
    'seeing': 'visualization',
}


class MovedWarning(FutureWarning):
    """An old import path was used."""


class _Redirect(MetaPathFinder, Loader):
    """Answers the import of an old path with the module at the new one, not with a copy of it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self) if _new_path(name) else None

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        new = _new_path(old)
        assert new is not None
        warnings.warn(f'{old} is now {new}; the old path will go', MovedWarning, stacklevel=2)
        sys.modules[old] = import_module(new)


def _new_path(name: str) -> str | None:
    """Return what an old path is called now; None if it has not moved."""
    for old, new in MOVED.items():
        if name == f'casvit_mm.{old}' or name.startswith(f'casvit_mm.{old}.'):
            return name.replace(old, new, 1)
    return None


def keep_old_paths() -> None:
    """Let ``import`` find modules by their old paths; calling it twice changes nothing."""
    # First in line: the path of a moved package would lead to second copies of its modules.
    if not any(isinstance(finder, _Redirect) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Redirect())
