"""Our configs and tools by name, in a checkout and in an installed wheel alike."""

from __future__ import annotations

import difflib
from importlib.util import find_spec
from pathlib import Path

from casvit_mm.errors import InputError

__all__ = [
    'PREFIX',
    'ROOT',
    'config_name',
    'config_path',
    'let_hub_find_configs',
    'let_mmengine_find_configs',
]

PREFIX = 'casvit_mm::'
_PACKAGE = Path(__file__).parents[1]
# A wheel carries configs and tools where mim looks; in a checkout they lie beside the package.
ROOT = _PACKAGE / '.mim' if (_PACKAGE / '.mim').is_dir() else _PACKAGE.parent


def config_path(name: str | Path) -> Path:
    """Return the file of a config.

    Args:
        name: A path, or ``casvit_mm::`` and the name of one of ours, as in
            ``casvit_mm::maskrcnn_casvit_s_coco.py``.

    Raises:
        InputError: If there is no such file; it names the nearest of ours.
    """
    inside = str(name).removeprefix(PREFIX)
    ours = inside != str(name)
    path = ROOT / 'configs' / inside if ours else Path(name)
    if path.is_file():
        return path
    names = [path.name for path in sorted((ROOT / 'configs').glob('*.py'))]
    near = difflib.get_close_matches(Path(inside).name, names, n=2)
    raise InputError(
        f'config {name} does not exist; '
        + (f'did you mean {" or ".join(PREFIX + found for found in near)}? ' if near else '')
        + f'{PREFIX}NAME.py names one of ours, which lie in {ROOT / "configs"}'
    )


def config_name(config: str | Path) -> str:
    """Return the name of the file of a config, as its copy in a work dir has it."""
    return Path(str(config).removeprefix(PREFIX)).name


def _configs_of(package: str) -> Path:
    """Return where mim puts the configs of a package, also if there is none."""
    spec = find_spec(package) if package.isidentifier() else None
    places = (spec.submodule_search_locations or ['']) if spec else ['']
    return Path(places[0], '.mim', 'configs')


def let_mmengine_find_configs() -> None:
    """Let ``_base_ = 'casvit_mm::NAME.py'`` find our configs, and others without a search.

    MMEngine knows ``package::`` for a fixed list of packages, only for configs in a sub-folder, and
    builds what it inherits so in that package's registries. Ours are flat, and are built in those
    of mmdet, mmseg and mmpretrain.

    Configs of other packages are taken from where mim puts them. MMEngine reads a hundred
    metafiles first, which takes 0.3 s for each name, to find the same file.
    """
    from mmengine.config import Config, config

    plain_path = Config._get_cfg_path

    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if cfg_path.startswith(PREFIX):
            return str(config_path(cfg_path)), None
        scope, _, inside = cfg_path.partition('::')
        path = _configs_of(scope) / inside if inside else None
        if path is not None and path.is_file():
            return str(path), scope
        return plain_path(cfg_path, filename)

    Config._get_cfg_path = staticmethod(get_cfg_path)  # type: ignore[method-assign]
    config._get_package_and_cfg_path = _package_and_path


def let_hub_find_configs() -> None:
    """Let MMEngine's ``get_config`` find our configs, and install nothing."""
    from mmengine.hub import hub

    def refuse_missing(package: str) -> None:
        if find_spec(package) is None:
            raise InputError(f'{package}, whose config is named, is not installed')

    hub._get_package_and_cfg_path = _package_and_path
    # MMEngine would install what it does not find by its name: upstream's over the fork's.
    hub.install_package = refuse_missing


def _package_and_path(cfg_path: str) -> tuple[str, str]:
    from mmengine.config.utils import _get_package_and_cfg_path

    if cfg_path.startswith(PREFIX):
        return 'casvit_mm', cfg_path.removeprefix(PREFIX)
    # By the name of the module, which a fork that is installed in its place has as well.
    return cfg_path.partition('::')[0], _get_package_and_cfg_path(cfg_path)[1]
