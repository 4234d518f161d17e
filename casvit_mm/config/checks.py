"""Checks of a config before anything is built: a typing error should cost seconds, not an hour."""

from __future__ import annotations

import difflib
import inspect

from mmengine.config import Config, ConfigDict

from casvit_mm.config.forms import entries, metric_configs, type_name
from casvit_mm.config.reading import missing_pretrained
from casvit_mm.errors import InputError
from casvit_mm.models import CASViT, FViT
from casvit_mm.weights.published import how_to_get

__all__ = ['check_backbone', 'check_pretrained', 'require_metric']


def check_backbone(cfg: Config) -> None:
    """Refuse arguments that a backbone of ours does not have or cannot take, or do not fit.

    Raises:
        InputError: Naming the argument and the nearest one that exists, or the part whose channels
            are not those of the backbone.
    """
    backbone = cfg.model.get('backbone') or {}
    kind = next((k for k in (CASViT, FViT) if type_name(backbone) == k.__name__), None)
    if kind is None:
        return
    known = [name for name in inspect.signature(kind.__init__).parameters if name != 'self']
    for name in backbone:
        if name not in ('type', *known):
            near = difflib.get_close_matches(name, known, n=1)
            raise InputError(
                f'{cfg.filename}: model.backbone has no argument {name!r}; '
                f'{f"did you mean {near[0]!r}? " if near else ""}{kind.__name__} takes '
                f'{", ".join(known)}'
            )
    try:
        built = kind(**{k: v for k, v in backbone.items() if k not in ('type', 'init_cfg')})
    except (TypeError, ValueError) as error:
        raise InputError(f'{cfg.filename}: model.backbone: {error}') from error
    _check_channels(cfg, built.out_channels)


def _check_channels(cfg: Config, channels: tuple[int, ...]) -> None:
    """Refuse a neck or heads that read other channels than the backbone gives."""
    necks = [neck for neck in entries(cfg.model, 'neck') if neck.get('in_channels')]
    readers = [('model.neck', neck) for neck in necks[:1]]
    if not readers:
        names = ('decode_head', 'auxiliary_head', 'head')
        readers = [(f'model.{name}', head) for name in names for head in entries(cfg.model, name)]
    for path, reader in readers:
        asked = reader.get('in_channels')
        if asked is None:
            continue
        if isinstance(asked, (list, tuple)):
            read = reader.get('in_index') or range(len(channels))
        elif path == 'model.neck':
            continue  # one number may be of one map, or of all
        else:
            read, asked = [reader.get('in_index', -1)], [asked]
        given = [channels[i] if -len(channels) <= i < len(channels) else None for i in read]
        if list(asked) != given:
            raise InputError(
                f'{cfg.filename}: {path}.in_channels is {list(asked)}, and the backbone gives '
                f'{given}: its maps have {list(channels)} channels'
            )


def check_pretrained(cfg: Config) -> None:
    """Refuse to train from a pretrained file that is not there.

    Raises:
        InputError: Saying where to get the file and how to do without.
    """
    if (path := missing_pretrained(cfg)) is not None:
        raise InputError(
            f'pretrained weights {path!r} (model.backbone.init_cfg.checkpoint of {cfg.filename}) '
            f'do not exist.\n{how_to_get(path)}\nAnother file: --pretrained PATH. Train without: '
            '--from-scratch'
        )


def require_metric(cfg: Config, kind: str) -> ConfigDict:
    """Return the test metric that keeps predictions, which may be one of several.

    Args:
        cfg: The config.
        kind: Its type.

    Raises:
        InputError: If the config has others only.
    """
    metrics = metric_configs(cfg, 'test')
    for metric in metrics:
        if type_name(metric) == kind:
            return metric
    found = ' and '.join(repr(type_name(metric)) for metric in metrics) or 'none'
    raise InputError(
        f'--out-pred and --analysis need test_evaluator.type={kind}; {cfg.filename} has {found}'
    )
