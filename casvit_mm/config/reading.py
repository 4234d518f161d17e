"""Read a config: ours by name, or a path; nothing that it names is executed on loading."""

from __future__ import annotations

import traceback
from pathlib import Path

from mmengine.config import Config

from casvit_mm.config.paths import PREFIX, ROOT, config_path
from casvit_mm.errors import InputError

__all__ = ['missing_pretrained', 'read_config', 'read_recipe']

_SUFFIXES = ('.py', '.json', '.yaml', '.yml')


def read_config(path: str | Path) -> Config:
    """Read a config, and let nothing run what the files contain that it names.

    Args:
        path: A path, the name of one of ours, ``casvit_mm::NAME.py``, or of another framework's,
            such as ``mmpretrain::resnet/resnet18_8xb32_in1k.py``.

    Raises:
        InputError: If there is no such file, it cannot be read as a config, naming the line where
            it breaks off, or it has no model.
    """
    from casvit_mm.weights.mmengine_loading import read_files_safely

    read_files_safely()
    name = str(path)
    if '::' not in name or name.startswith(PREFIX):
        cfg = _read_file(config_path(path))
    else:
        from mmengine.hub import get_config

        try:
            cfg = get_config(name)
        except (AssertionError, ImportError, OSError, ValueError) as error:
            raise InputError(
                f'config {name} is not there; of another framework it is PACKAGE::FOLDER/NAME.py, '
                f'such as mmpretrain::resnet/resnet18_8xb32_in1k.py ({error})'
            ) from error
    if not isinstance(cfg.get('model'), dict):
        hint = ''
        if name.endswith(_SUFFIXES[1:]):
            hint = '. A description of data goes to --data, or to check_data alone'
        raise InputError(f'{name} is no config: it has no model{hint}')
    return cfg


def read_recipe(name: str) -> Config:
    """Return one of our recipes, to read its settings: nothing that it names is imported.

    Args:
        name: Of the file, such as ``'casvit_xs_imagenet.py'``.
    """
    return Config.fromfile(ROOT / 'configs' / name, import_custom_modules=False)


def missing_pretrained(cfg: Config) -> str | None:
    """Return the pretrained file of the backbone if it is named and not there."""
    init_cfg = cfg.model.get('backbone', {}).get('init_cfg') or {}
    path: str | None = init_cfg.get('checkpoint') if isinstance(init_cfg, dict) else None
    there = not path or '://' in path or Path(path).expanduser().is_file()
    return None if there else path


def _read_file(path: Path) -> Config:
    """Read a file as a config.

    Raises:
        InputError: Saying in which line of which file it breaks off.
    """
    if path.suffix not in _SUFFIXES:
        raise InputError(f'config {path} does not end in {", ".join(_SUFFIXES)}')
    try:
        cfg = Config.fromfile(path)
        dict(cfg.items())  # imports what a config in the new style names
        return cfg
    except SyntaxError as error:
        # MMEngine also reads copies under other names.
        raise InputError(
            f'config {_broken_file(error) or path}, line {error.lineno}: {error.msg}'
        ) from error
    except RecursionError as error:
        raise InputError(f'config {path}: _base_ leads back to the file itself') from error
    except Exception as error:  # a config is a program, which may raise anything
        raise InputError(_describe(path, error)) from error


def _broken_file(error: BaseException) -> str | None:
    """Return the file, perhaps a base of the config, that MMEngine was reading."""
    read = [
        frame.f_locals.get('filename')
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_name in ('_file2dict', '_parse_lazy_import')
    ]
    return str(read[-1]) if read else None


def _describe(path: Path, error: Exception) -> str:
    """Return what to say of a config that cannot be read."""
    file = _broken_file(error) or str(path)
    lines = [
        number
        for frame, number in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename == file
    ]
    where = f'config {file}, line {lines[-1]}' if lines else f'config {file}'
    if isinstance(error, UnicodeDecodeError):
        return f'{where} is no text in UTF-8'
    if isinstance(error, FileNotFoundError):
        return f'{where}: {error.filename or error} does not exist; does _base_ name it?'
    if isinstance(error, ImportError):
        return f'{where}: {_first_line(error.__cause__ or error)}'
    return f'{where}: {type(error).__name__}: {_first_line(error)}'


def _first_line(error: BaseException) -> str:
    return str(error.args[0] if error.args else error).split('\n')[0]
