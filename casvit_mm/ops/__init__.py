"""Operators for an mmcv that was installed without its compiled ones.

mmcv's Python code imports its compiled operators as ``mmcv._ext``. Where that module does not
exist, :func:`lend_operators_to_mmcv` answers the import with
:mod:`casvit_mm.ops.torchvision_ops`; where it exists, nothing changes. For tools that never import
``casvit_mm``, ``python -m casvit_mm.ops install`` makes the answer permanent.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from casvit_mm.errors import InputError

__all__ = ['install', 'lend_operators_to_mmcv', 'operator_source', 'uninstall']

EXT_NAME = 'mmcv._ext'
_STAND_IN = Path(__file__).parent / 'torchvision_ops.py'
_MARK = '# Written by `python -m casvit_mm.ops install`; `... uninstall` removes it.'
_POINTER = f"""{_MARK}
from casvit_mm.ops.torchvision_ops import *  # noqa: F403
from casvit_mm.ops.torchvision_ops import __getattr__  # noqa: F401
"""


class _LastResortFinder(MetaPathFinder):
    """Finds ``mmcv._ext``; last in line, so that a compiled one is found before."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != EXT_NAME:
            return None
        return importlib.util.spec_from_file_location(EXT_NAME, _STAND_IN)


def lend_operators_to_mmcv() -> None:
    """Answer ``import mmcv._ext`` with torchvision's operators where mmcv has none of its own.

    Imports neither mmcv nor torchvision; calling it twice changes nothing.
    """
    if not any(isinstance(finder, _LastResortFinder) for finder in sys.meta_path):
        sys.meta_path.append(_LastResortFinder())


def _mmcv_folder() -> Path:
    spec = importlib.util.find_spec('mmcv')
    if spec is None or not spec.submodule_search_locations:
        raise InputError('mmcv is not installed. Install it first: pip install onedl-mmcv')
    return Path(next(iter(spec.submodule_search_locations)))


def _compiled_files(folder: Path) -> list[Path]:
    return sorted([*folder.glob('_ext.*.so'), *folder.glob('_ext*.pyd')])


def operator_source() -> str:
    """Return where mmcv's operators come from: ``compiled``, ``pointer``, ``lent`` or ``absent``.

    ``pointer`` is the file that :func:`install` writes, ``lent`` the answer of
    :func:`lend_operators_to_mmcv`, ``absent`` means that mmcv is not installed.
    """
    try:
        folder = _mmcv_folder()
    except InputError:
        return 'absent'
    if _compiled_files(folder):
        return 'compiled'
    return 'pointer' if (folder / '_ext.py').is_file() else 'lent'


def install() -> str:
    """Write ``mmcv/_ext.py``, which points to our operators, and return what was done.

    Raises:
        InputError: If mmcv is absent, has compiled operators, holds an ``_ext.py`` that is not
            ours, or its folder cannot be written.
    """
    folder = _mmcv_folder()
    pointer = folder / '_ext.py'
    compiled = _compiled_files(folder)
    if compiled:
        raise InputError(f'mmcv has compiled operators ({compiled[0]}); they are used as they are')
    if pointer.exists() and not pointer.read_text().startswith(_MARK):
        raise InputError(f'{pointer} exists and is not ours; it was left alone')
    try:
        pointer.write_text(_POINTER)
    except OSError as error:
        raise InputError(
            f'cannot write {pointer}: {error.strerror}. Use a virtual environment.'
        ) from error
    return f'wrote {pointer}: every program of this environment now finds the operators'


def uninstall() -> str:
    """Remove what :func:`install` wrote and return what was done.

    Raises:
        InputError: If mmcv is absent, or its ``_ext.py`` is not ours.
    """
    pointer = _mmcv_folder() / '_ext.py'
    if not pointer.exists():
        return f'{pointer} does not exist; nothing to undo'
    if not pointer.read_text().startswith(_MARK):
        raise InputError(f'{pointer} is not ours; it was left alone')
    pointer.unlink()
    return f'removed {pointer}'
