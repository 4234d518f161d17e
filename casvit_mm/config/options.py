"""Entries of a config that a command line sets: ``--cfg-options KEY=VALUE``."""

from __future__ import annotations

import argparse
import difflib
import inspect
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from casvit_mm.errors import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ['ConfigOptions', 'merge_options']

_BOOLEAN_WORDS = {'yes', 'no', 'on', 'off', 'y', 'n'}


class ConfigOptions(argparse.Action):
    """Read ``KEY=VALUE ...`` into a dictionary, values as MMEngine's ``DictAction`` reads them.

    Numbers, True, False and None are values; ``a,b``, ``[a,b]`` and ``(a,b)`` are lists and tuples,
    which may be nested; all else is text. Unlike there, text keeps its spaces.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add the entries to those of an earlier ``--cfg-options``."""
        options = dict(getattr(namespace, self.dest, None) or {})
        for entry in values or ():
            key, equals, value = str(entry).partition('=')
            if not equals or not all(key.split('.')):
                raise argparse.ArgumentError(
                    self, f'{entry!r} is not KEY=VALUE, such as optim_wrapper.optimizer.lr=1e-4'
                )
            try:
                options[key] = _parse(value)
            except ValueError as error:
                raise argparse.ArgumentError(self, f'{entry!r}: {error}') from error
        setattr(namespace, self.dest, options)


def _parse(text: str) -> Any:
    """Return a value of the command line.

    Raises:
        ValueError: If brackets do not match, or the text is a dictionary.
    """
    text = text.strip().strip('\'"')
    if text.startswith(('{', 'dict(')):
        raise ValueError('a dictionary is set entry by entry, as in KEY.first=1 KEY.second=2')
    parts = list(_split(text))
    if text.startswith('(') and text.endswith(')') and len(parts) == 1:
        return tuple(_parse(part) for part in _split(text[1:-1]) if part)
    if text.startswith('[') and text.endswith(']') and len(parts) == 1:
        return [_parse(part) for part in _split(text[1:-1]) if part]
    if len(parts) > 1:
        return [_parse(part) for part in parts if part]
    return _parse_one(text)


def _parse_one(text: str) -> Any:
    """Return a number, True, False or None as such, and any other text as it is."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {'true': True, 'false': False}.get(text.lower(), None if text == 'None' else text)


def _split(text: str) -> Iterator[str]:
    """Yield the parts between the commas that stand in no bracket."""
    open_brackets, start = [], 0
    for place, letter in enumerate(text):
        if letter in '([':
            open_brackets.append(letter)
        elif letter in ')]':
            if not open_brackets or open_brackets.pop() + letter not in ('()', '[]'):
                raise ValueError(f'the brackets of {text} do not match')
        elif letter == ',' and not open_brackets:
            yield text[start:place].strip()
            start = place + 1
    if open_brackets:
        raise ValueError(f'the brackets of {text} do not match')
    yield text[start:].strip()


def merge_options(cfg: Config, options: dict[str, Any] | None) -> None:
    """Set entries of a config, in place.

    Args:
        cfg: As it was read.
        options: Values by dotted name; a number in a name counts the entries of a list from 0.

    Raises:
        InputError: If nothing would read an entry, a list is shorter, or a value is of another kind
            than the one it replaces.
    """
    for key, value in (options or {}).items():
        _check(cfg, key, value)
    cfg.merge_from_dict(options or {})
    if any(key.startswith('custom_imports') for key in options or {}):
        from mmengine.utils import import_modules_from_strings

        try:
            import_modules_from_strings(**cfg.custom_imports)
        except ImportError as error:
            raise InputError(f'--cfg-options custom_imports: {error}') from error


@cache
def _read_entries() -> frozenset[str]:
    """Return what the Runner takes, and what it and we look up beside it.

    Any other name at the top of a config is a variable of its file: to change it after the file was
    read changes nothing.
    """
    from mmengine.runner import Runner

    beside = {
        'activation_checkpointing',
        'channels_last',
        'compile',
        'custom_imports',
        'efficient_conv_bn_eval',
        'find_unused_parameters',
        'model_wrapper_cfg',
        'runner_type',
        'sync_bn',
        'tta_model',
        'tta_pipeline',
    }
    return frozenset({*inspect.signature(Runner.__init__).parameters, *beside} - {'self', 'cfg'})


def _check(cfg: Config, key: str, value: Any) -> None:
    """Refuse an entry that cannot be set, or that nothing would read."""
    first, *others = key.split('.')
    if first == 'launcher':
        raise InputError(f'--cfg-options {key}: it has an option of its own, --launcher')
    if first not in _read_entries():
        raise InputError(_unread(cfg, key, first))
    node, path = cfg.get(first, {}), first
    for part in others:
        if isinstance(node, (list, tuple)):
            if not part.isdecimal() or int(part) >= len(node):
                raise InputError(
                    f'--cfg-options {key}: {path} is a list of {len(node)} entries, which are '
                    f'counted from 0; there is no {part!r}'
                )
            node = node[int(part)]
        elif isinstance(node, dict) and (node or not part.isdecimal()):
            node = node.get(part, {})  # an entry that is not there yet is made
        else:
            raise InputError(f'--cfg-options {key}: {path} is {node!r} and has no entry {part!r}')
        path = f'{path}.{part}'
    _check_kind(key, node, value)


def _unread(cfg: Config, key: str, first: str) -> str:
    if first in cfg:
        return (
            f'--cfg-options {key}: {first} is a variable of {cfg.filename}, which nothing reads '
            'once the file is read. Set the entry that it stands in, such as '
            'train_dataloader.dataset.pipeline'
        )
    near = difflib.get_close_matches(first, sorted(_read_entries()), n=1)
    return (
        f'--cfg-options {key}: a config has no {first!r}'
        f'{f"; did you mean {near[0]!r}?" if near else ""}'
    )


def _check_kind(key: str, old: Any, new: Any) -> None:
    """Refuse a text for a number, and a plain value for a group of entries."""
    if isinstance(old, dict) and old and not (isinstance(new, dict) or new is None):
        names = [str(name) for name in old if name != '_scope_']
        raise InputError(
            f'--cfg-options {key}={new}: {key} holds the entries {", ".join(names)}; set one of '
            f'them, as in {key}.{names[0]}=...'
        )
    if isinstance(old, bool) and (
        _is_numeric(new) or (isinstance(new, str) and new.lower() in _BOOLEAN_WORDS)
    ):
        raise InputError(f'--cfg-options {key}={new}: write True or False')
    if not isinstance(new, str):
        return
    # A loss scale may be a number or 'dynamic'.
    if _is_numeric(old) and not key.endswith('loss_scale'):
        raise InputError(f'--cfg-options {key}={new}: needs numbers, like the {old} it replaces')


def _is_numeric(value: Any) -> bool:
    """Return whether a value is a number or a list of numbers."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(_is_numeric(child) for child in value)
    return isinstance(value, (int, float)) and not isinstance(value, bool)
