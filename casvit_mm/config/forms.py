"""The forms in which MMEngine takes one thing: types by name or class, one entry or a list."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import Registry

__all__ = ['entries', 'metric_configs', 'takes_argument', 'type_name', 'type_of']


def type_name(node: Any) -> str:
    """Return the type that an entry of a config names, without its scope or module.

    Args:
        node: Its ``type`` may be ``'Name'``, ``'scope.Name'``, ``'module.Name'`` or a class; what
            has no type, such as None, has the name ``''``.
    """
    kind = (node.get('type') if isinstance(node, Mapping) else None) or ''
    return getattr(kind, '__name__', str(kind)).rpartition('.')[2]


def type_of(cfg: Config, registry: Registry, node: Mapping[str, Any]) -> Any:
    """Return the class of an entry, looked up in the scope of the config; None if it is unknown."""
    kind = node.get('type')
    if not isinstance(kind, str):
        return kind
    with registry.switch_scope_and_registry(cfg.get('default_scope')) as scoped:
        return scoped.get(kind)


def takes_argument(kind: type, name: str) -> bool | None:
    """Return whether a class can be built with an argument, which it may hand to its parents.

    Returns:
        None where it goes on as ``**kwargs`` to what is no parent, so that nobody can tell.
    """
    for parent in inspect.getmro(kind):
        if '__init__' in vars(parent):
            parameters = inspect.signature(vars(parent)['__init__']).parameters
            if name in parameters:
                return True
            if all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
                return False
    return None


def entries(cfg: Mapping[str, Any] | Config, name: str) -> list[Any]:
    """Return what a config has under a name as a list, whose members may be changed in place.

    Args:
        cfg: The config.
        name: Of an entry that may be absent, None, one, or several.
    """
    found = cfg.get(name)
    if not isinstance(found, (list, tuple)):
        found = [found]
    return [entry for entry in found if entry is not None]


def metric_configs(cfg: Config, split: str) -> list[ConfigDict]:
    """Return the metrics of a split, from any form of its evaluator; each may be changed in place.

    Args:
        cfg: The config.
        split: ``'val'`` or ``'test'``.
    """
    found = entries(cfg, f'{split}_evaluator')
    # dict(type='Evaluator', metrics=...) is MMEngine's long form.
    return [m for e in found for m in (entries(e, 'metrics') if e.get('metrics') else [e])]
