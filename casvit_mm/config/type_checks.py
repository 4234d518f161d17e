"""Unknown types in a config, and what could not be built of it, told with the entry's name."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from mmengine import registry
from mmengine.config import Config
from mmengine.registry import Registry

from casvit_mm.config.forms import metric_configs, takes_argument, type_name, type_of
from casvit_mm.errors import InputError

__all__ = ['BACKEND_PACKAGES', 'check_package', 'check_types', 'explaining_build_errors']

# The packages behind MMEngine's visualization back ends, which it imports when it starts to log.
BACKEND_PACKAGES = {
    'AimVisBackend': 'aim',
    'ClearMLVisBackend': 'clearml',
    'DVCLiveVisBackend': 'dvclive',
    'MLflowVisBackend': 'mlflow',
    'NeptuneVisBackend': 'neptune',
    'TensorboardVisBackend': 'tensorboard',
    'WandbVisBackend': 'wandb',
}
_BUILD = 'build_from_cfg'  # MMEngine's function that all registries build by
_FRAMEWORKS = ('casvit_mm', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'torch')

# What else is built gets or loses arguments on the way.
_WITH_EXACT_ARGUMENTS = (
    registry.DATASETS,
    registry.LOOPS,
    registry.METRICS,
    registry.TRANSFORMS,
)


def check_types(cfg: Config, splits: tuple[str, ...]) -> None:
    """Refuse types that are not registered, arguments they do not take, and absent packages.

    Only entries whose registry is known by their place are looked up, and only classes of the
    frameworks and ours for their arguments; the others are met by :func:`explaining_build_errors`.

    Args:
        cfg: With the options of the command line in it.
        splits: Splits whose datasets and loops will be built.

    Raises:
        InputError: Naming the entry, and the nearest names that exist.
    """
    for path, node, kind in _places(cfg, splits):
        if isinstance(node, dict) and 'type' in node and type_of(cfg, kind, node) is None:
            with kind.switch_scope_and_registry(cfg.get('default_scope')) as scoped:
                raise InputError(f'{cfg.filename}: {path}.{_unknown(node["type"], scoped)}')
        if kind in _WITH_EXACT_ARGUMENTS and isinstance(node, dict):
            _check_arguments(cfg, path, node, type_of(cfg, kind, node))
        if isinstance(node, dict):
            check_package(f'{cfg.filename}: {path}.type={node.get("type")}', node)


def check_package(asked: str, node: dict) -> None:
    """Refuse a visualization back end whose package is absent.

    Args:
        asked: What asks for it, for the message.
        node: Config of the back end.

    Raises:
        InputError: Naming the package.
    """
    package = BACKEND_PACKAGES.get(type_name(node))
    if package and importlib.util.find_spec(package) is None:
        raise InputError(
            f'{asked} needs the package {package}, which is not installed: pip install {package}'
        )


def _check_arguments(cfg: Config, path: str, node: dict, built: Any) -> None:
    """Refuse an argument that a class of the frameworks or ours does not take."""
    if not isinstance(built, type) or built.__module__.split('.')[0] not in _FRAMEWORKS:
        return
    for name in node:
        # by_epoch chooses the loop.
        if name not in ('type', '_scope_', 'by_epoch') and takes_argument(built, name) is False:
            known = {
                argument
                for parent in inspect.getmro(built)[:-1]
                for argument in inspect.signature(parent).parameters
            }
            near = difflib.get_close_matches(name, sorted(known), n=1)
            raise InputError(
                f'{cfg.filename}: {path} has no argument {name!r}; '
                f'{f"did you mean {near[0]!r}? " if near else ""}It is built as {built.__name__}'
            )


def _places(cfg: Config, splits: tuple[str, ...]) -> Iterator[tuple[str, Any, Registry]]:
    """Yield entries of a config with the registry that they are built from."""
    yield 'model', cfg.model, registry.MODELS
    for name, node in cfg.model.items():
        if name in ('backbone', 'neck', 'data_preprocessor') or name.endswith('head'):
            for path, part in _each(f'model.{name}', node):
                yield path, part, registry.MODELS
    for split in splits:
        loader = cfg.get(f'{split}_dataloader') or {}
        for path, dataset in _datasets(f'{split}_dataloader', loader):
            yield path, dataset, registry.DATASETS
            for place, step in _each(f'{path}.pipeline', dataset.get('pipeline')):
                yield place, step, registry.TRANSFORMS
        yield f'{split}_dataloader.sampler', loader.get('sampler'), registry.DATA_SAMPLERS
        yield f'{split}_cfg', cfg.get(f'{split}_cfg'), registry.LOOPS
        for metric in metric_configs(cfg, split):
            yield f'{split}_evaluator', metric, registry.METRICS
    if 'train' in splits:
        wrapper = cfg.get('optim_wrapper') or {}
        yield 'optim_wrapper', wrapper, registry.OPTIM_WRAPPERS
        yield 'optim_wrapper.optimizer', wrapper.get('optimizer'), registry.OPTIMIZERS
        for path, node in _each('param_scheduler', cfg.get('param_scheduler')):
            yield path, node, registry.PARAM_SCHEDULERS
    for name, node in (cfg.get('default_hooks') or {}).items():
        yield f'default_hooks.{name}', node, registry.HOOKS
    for path, node in _each('custom_hooks', cfg.get('custom_hooks')):
        yield path, node, registry.HOOKS
        # That of mmdet's PipelineSwitchHook is built when most of the training is over.
        for place, step in _each(f'{path}.switch_pipeline', node.get('switch_pipeline')):
            yield place, step, registry.TRANSFORMS
    visualizer = cfg.get('visualizer') or {}
    yield 'visualizer', visualizer, registry.VISUALIZERS
    for path, node in _each('visualizer.vis_backends', visualizer.get('vis_backends')):
        yield path, node, registry.VISBACKENDS


def _datasets(path: str, node: dict) -> Iterator[tuple[str, dict]]:
    """Yield the datasets of a dataloader with their names: wrappers, and what is in them."""
    for name in ('dataset', 'datasets'):
        for place, dataset in _each(f'{path}.{name}', node.get(name)):
            yield place, dataset
            yield from _datasets(place, dataset)


def _each(path: str, node: Any) -> Iterator[tuple[str, dict]]:
    """Yield a dictionary, or those of a list, with their names."""
    nodes = {path: node}
    if isinstance(node, (list, tuple)):
        nodes = {f'{path}.{place}': child for place, child in enumerate(node)}
    for name, child in nodes.items():
        if isinstance(child, dict):
            yield name, child


def _unknown(name: str, kind: Registry) -> str:
    """Return what to say of a type that a registry does not have."""
    known: set[str] = set()
    scoped: Registry | None = kind
    while scoped is not None:
        known.update(scoped.module_dict)
        scoped = scoped.parent
    near = difflib.get_close_matches(name.rpartition('.')[2], sorted(known), n=3)
    hint = f' Did you mean {" or ".join(near)}?' if near else ''
    return (
        f'type={name} is not registered as {kind.name}.{hint} A class of your own is imported by '
        'custom_imports'
    )


@contextmanager
def explaining_build_errors(cfg: Config) -> Iterator[None]:
    """Turn what a registry could not build into an InputError that names the entry of the config.

    Errors inside classes that are not the frameworks' or ours are left alone, with their traceback.
    """
    try:
        yield
    except (InputError, OSError):
        raise
    except Exception as error:
        message = _explain(cfg, error)
        if message is None:
            raise
        raise InputError(message) from error


def _explain(cfg: Config, error: Exception) -> str | None:
    """Return what to say of an error while something was built; None if nothing was."""
    builds = [frame for frame in _frames(error.__traceback__) if frame.f_code.co_name == _BUILD]
    if not builds or 'out of memory' in str(error):
        return None
    inner = builds[-1].f_locals
    node, built = inner.get('cfg'), inner.get('obj_cls')
    name = inner.get('obj_type', node.get('type') if isinstance(node, dict) else node)
    where = f'{cfg.filename}: {_path_of(cfg, node) or f"{name}"}'
    if built is None and isinstance(name, str) and isinstance(inner.get('registry'), Registry):
        return f'{where}.{_unknown(name, inner["registry"])}'
    if built is None or getattr(built, '__module__', '').split('.')[0] not in _FRAMEWORKS:
        return None
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = str(error.args[0] if error.args else error).split('\n')[0]
    raised = '' if last.name == _BUILD else f' (line {last.lineno} of {last.filename})'
    return f'{where}: {built.__name__} cannot be built: {text}{raised}'


def _frames(tb: TracebackType | None) -> list[FrameType]:
    return [frame for frame, _ in traceback.walk_tb(tb)]


def _path_of(cfg: Config, wanted: Any) -> str | None:
    """Return the dotted name of an entry that is, or once was, this dictionary."""
    if not isinstance(wanted, dict):
        return None
    same = [
        path
        for path, node in _walk(cfg._cfg_dict, '')
        if node is wanted or all(key in wanted and wanted[key] == node[key] for key in node)
    ]
    return max(same, key=lambda path: path.count('.'), default=None)


def _walk(node: Any, path: str) -> Iterator[tuple[str, dict]]:
    """Yield every dictionary with a type, and its dotted name."""
    if isinstance(node, dict):
        if 'type' in node:
            yield path, node
        children = [(str(key), child) for key, child in node.items()]
    elif isinstance(node, (list, tuple)):
        children = [(str(place), child) for place, child in enumerate(node)]
    else:
        return
    for key, child in children:
        yield from _walk(child, f'{path}.{key}' if path else key)
