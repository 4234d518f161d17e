"""The published code, from a checkout of its repository."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from torch import nn

from casvit_mm.errors import InputError

__all__ = ['load_official']

_FILE = 'classification/model/rcvit.py'
_REPOSITORY = 'https://github.com/Tianfang-Zhang/CAS-ViT'


def load_official(checkout: str, variant: str) -> Callable[[], nn.Module]:
    """Return the constructor of a published classifier.

    The file is executed, as any import is.

    Args:
        checkout: Folder of the published repository.
        variant: ``'xs'`` to ``'t'``.

    Raises:
        InputError: If the file is absent, needs a package that is not installed, or lacks the
            variant.
    """
    path = Path(checkout).expanduser() / _FILE
    if not path.is_file():
        raise InputError(
            f'--official {checkout}: there is no {_FILE} in it. Get the published code: '
            f'git clone {_REPOSITORY}, and name that folder'
        )
    module = _import(path)
    build = getattr(module, f'rcvit_{variant}', None)
    if build is None:
        raise InputError(f'--official {checkout}: {path} defines no rcvit_{variant}')
    return build


def _import(path: Path) -> ModuleType:
    name = 'casvit_official'
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # timm's register_model, which the file calls, looks there
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of timm, that its old names are deprecated
            spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        package = str(error.name).partition('.')[0]
        raise InputError(
            f'--official: {path} imports {error.name}, which is not installed here: '
            f'pip install {package}'
        ) from error
    return module
