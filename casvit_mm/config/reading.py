"""Read a config: ours by name, or a path; nothing that it names is executed on loading."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.hub import get_config

from casvit_mm.config.paths import PREFIX, config_path
from casvit_mm.errors import InputError
from casvit_mm.weights.mmengine_loading import read_files_safely

__all__ = ['read_config']


def read_config(path: str | Path) -> Config:
    """Read a config, and let nothing run what the files contain that it names.

    Args:
        path: A path, the name of one of ours, ``casvit_mm::NAME.py``, or of another framework's,
            such as ``mmpretrain::resnet/resnet18_8xb32_in1k.py``.

    Raises:
        InputError: If there is no such file.
    """
    read_files_safely()
    name = str(path)
    if '::' not in name or name.startswith(PREFIX):
        return Config.fromfile(config_path(path))
    try:
        return get_config(name)
    except (AssertionError, ImportError, OSError, ValueError) as error:
        raise InputError(
            f'config {name} is not there; of another framework it is PACKAGE::FOLDER/NAME.py, such '
            f'as mmpretrain::resnet/resnet18_8xb32_in1k.py ({error})'
        ) from error
