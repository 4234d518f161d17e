"""Settings that change what weights mean, and no shape: a checkpoint fits and finds other boxes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS

from casvit_mm.config.forms import type_name, type_of
from casvit_mm.config.stored import STORED_CONFIG, parse_config
from casvit_mm.errors import InputError

__all__ = ['changed_meanings']

# Of heads: how numbers become boxes, and scores become classes. Of the preprocessor: what the
# network sees. Of segmentors: where the positions of a map lie.
_SETTINGS = (
    'exp_on_reg',
    'bbox_coder',
    'anchor_generator',
    'prior_generator',
    'strides',
    'norm_on_bbox',
    'centerness_on_reg',
    'align_corners',
    'mean',
    'std',
    'bgr_to_rgb',
    'to_rgb',
)
_ABSENT = object()


def changed_meanings(cfg: Config, content: Mapping[str, Any], path: str | Path) -> list[str]:
    """Return what the log should say of a checkpoint that was trained under other settings.

    Args:
        cfg: The config to train.
        content: Of the checkpoint, with its config where it holds one.
        path: Its file.
    """
    text = (content.get('meta') or {}).get(STORED_CONFIG)
    try:
        stored = parse_config(text, path) if isinstance(text, str) else {}
    except InputError:
        return []
    old, new = (dict(_settings(cfg, _parts(one), '')) for one in (stored, cfg.to_dict()))
    differing = [
        difference
        for place in old
        if place in new
        for difference in _differences(place, old[place], new[place])
    ]
    if not differing:
        return []
    found = '\n'.join(f'  {place}: {was!r} there, {now!r} here' for place, was, now in differing)
    keep = ' '.join(f'{place}="{was!r}"'.replace(' ', '') for place, was, _ in differing)
    return [
        f'warning: --finetune {path}: its weights fit, but were trained under settings that change '
        f'what they mean, so that training begins with wrong results:\n{found}\n'
        f'To take those of the checkpoint: --cfg-options {keep}'
    ]


def _parts(cfg: Mapping[str, Any]) -> dict[str, Any]:
    return {name: cfg[name] for name in ('model', 'data_preprocessor') if name in cfg}


def _settings(cfg: Config, node: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield dotted name and value of the settings in a model, those left to a default as well."""
    if isinstance(node, (list, tuple)):
        for number, child in enumerate(node):
            yield from _settings(cfg, child, f'{place}{number}.')
    if not isinstance(node, Mapping):
        return
    kind = type_of(cfg, MODELS, node) if 'type' in node else None
    for name in _SETTINGS:
        value = node.get(name, _default(kind, name))
        if value is not _ABSENT:
            yield place + name, value
    for name, child in node.items():
        if name not in (*_SETTINGS, 'train_cfg', 'test_cfg', 'init_cfg'):
            yield from _settings(cfg, child, f'{place}{name}.')


def _default(kind: Any, name: str) -> Any:
    """Return the default of an argument that a class, or a parent of it, has."""
    for parent in inspect.getmro(kind) if isinstance(kind, type) else ():
        build = vars(parent).get('__init__', object.__init__)
        parameter = inspect.signature(build).parameters.get(name)
        if parameter is not None:
            return _ABSENT if parameter.default is parameter.empty else parameter.default
    return _ABSENT


def _differences(place: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the innermost entries in which two settings differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping) and type_name(old) == type_name(new):
        for name in dict.fromkeys((*old, *new)):
            if name not in ('type', '_scope_'):
                yield from _differences(f'{place}.{name}', old.get(name), new.get(name))
    elif _plain(old) != _plain(new):
        yield place, old, new


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
