"""The config inside a checkpoint, as plain data: parsed and looked up, never executed.

MMEngine writes the text of the config into ``meta`` of a checkpoint. Whoever made the file has
written it, so of that text only what a prediction needs is taken, and of that only numbers, texts
and types that a registry of the frameworks or of ours holds.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine import registry
from mmengine.config import Config
from mmengine.registry import Registry, init_default_scope

from casvit_mm.config.editing import innermost_dataset
from casvit_mm.config.forms import entries
from casvit_mm.errors import InputError, plain_name
from casvit_mm.models.mixer_registry import TOKEN_MIXERS
from casvit_mm.task import task_name

__all__ = ['STORED_CONFIG', 'parse_config', 'portable_config', 'stored_config']

STORED_CONFIG = 'cfg'  # entry of ``meta``, where MMEngine has put it
_PACKAGES = ('casvit_mm', 'mmdet', 'mmseg', 'mmpretrain', 'mmcv', 'mmengine')
_LIBRARIES = ('torch', 'torchvision', 'timm')  # whose modules may be imported; no registry
_LONGEST = 2**20  # characters of a config
_NUMBERS = {'inf': float('inf'), 'nan': float('nan')}
_WITHOUT_EFFECT = ('init_cfg', 'pretrained')  # the weights are those of the checkpoint
_REFUSED = ('_delete_', '_base_', 'trust_remote_code')
# A text without dots, slashes, quotes and brackets names no file and calls nothing, not even where
# a framework gives it to eval.
_WORD = re.compile(r'[\w+ -]{0,64}')
# What the frameworks find by name without a registry.
_FUNCTIONS = ('nms', 'soft_nms', 'RoIAlign', 'RoIPool')
# Modules whose classes fetch a model by its name, or hand texts to eval.
_REFUSED_MODULES = (
    'mmdet.models.language_models',
    'mmdet.models.task_modules.tracking',
    'mmdet.models.tracking_heads',
    'mmpretrain.models.classifiers.hugging_face',
    'mmpretrain.models.multimodal',
    'mmseg.models.text_encoder',
)
_REGISTRIES = (registry.MODELS, registry.TASK_UTILS, registry.TRANSFORMS, TOKEN_MIXERS)


def stored_config(content: Mapping[str, Any], path: str | Path) -> Config:
    """Return what a checkpoint says of its model and of the pipeline of its images.

    The modules that it names are imported, of the frameworks and of ours alone.

    Args:
        content: Of the checkpoint, as :func:`casvit_mm.weights.reading.load_file` returns it.
        path: The file, for messages.

    Returns:
        ``default_scope``, ``model``, and ``test_dataloader`` with a dataset that has a pipeline and
        class names, and nothing else.

    Raises:
        InputError: If the file holds no config, or one that is not plain data, imports another
            module, names a type that no registry holds, or a file.
    """
    text = (content.get('meta') or {}).get(STORED_CONFIG)
    if not isinstance(text, str) or not text.strip():
        raise InputError(
            f'{path} holds no config, which tells how its model is built. Name it: config=FILE.py '
            'in Python, CONFIG before the checkpoint on the command line; '
            "'casvit_mm::NAME.py' is one of ours"
        )
    whole = parse_config(text, path)
    cfg = _needed(whole, text, path)
    _import_modules(whole, path)
    init_default_scope(cfg.default_scope)
    _check('model', cfg.model, path)
    _check('pipeline', innermost_dataset(cfg.test_dataloader)['pipeline'], path)
    return cfg


def portable_config(content: Mapping[str, Any]) -> str | None:
    """Return the text of what :func:`stored_config` takes of a checkpoint, to hand on.

    It names no file and no data.

    Args:
        content: Of the checkpoint.

    Returns:
        None where there is no config that could be used.
    """
    text = (content.get('meta') or {}).get(STORED_CONFIG)
    if not isinstance(text, str):
        return None
    try:
        whole = parse_config(text, 'the checkpoint')
        kept = _needed(whole, text, 'the checkpoint').to_dict()
    except InputError:
        return None
    imports = whole.get('custom_imports') or {}
    modules = [
        name
        for name in (entries(imports, 'imports') if isinstance(imports, dict) else [])
        if isinstance(name, str) and name.partition('.')[0] in _PACKAGES
    ]
    pipeline = innermost_dataset(kept['test_dataloader'])['pipeline']
    for place, node in (('model', kept['model']), ('pipeline', pipeline)):
        for _, key, value in _leaves(place, node):
            if key != 'type' and isinstance(value, str) and not _WORD.fullmatch(value):
                return None
    kept['custom_imports'] = dict(imports=modules)
    return '\n'.join(f'{name} = {value!r}' for name, value in kept.items())


def parse_config(text: str, path: str | Path) -> dict[str, Any]:
    """Return the entries of the text of a config that is plain data.

    Args:
        text: Assignments of literals and of ``dict(...)``, as MMEngine writes a config.
        path: Where it comes from, for messages.

    Raises:
        InputError: If it is anything else, with the line.
    """
    if len(text) > _LONGEST:
        raise _refused(path, f'it has {len(text):,} characters, and {_LONGEST:,} are read')
    try:
        found = {}
        for statement in ast.parse(text).body:
            if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
                raise _Unplain(statement)
            (target,) = statement.targets
            if not isinstance(target, ast.Name):
                raise _Unplain(statement)
            found[target.id] = _value(statement.value)
    except _Unplain as error:
        node = error.args[0]
        shown = plain_name(ast.unparse(node), 60)
        raise _refused(path, f'line {node.lineno} is no plain data: {shown}') from None
    except SyntaxError as error:
        raise _refused(path, f'line {error.lineno}: {error.msg}') from error
    except (RecursionError, MemoryError, ValueError, TypeError) as error:
        raise _refused(path, f'it cannot be parsed: {error}') from error
    return found


class _Unplain(Exception):
    """A part of a config that would have to be executed."""


def _value(node: ast.expr) -> Any:
    """Return what an expression stands for.

    Raises:
        _Unplain: If it is neither a literal nor ``dict(...)``.
    """
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and node.id in _NUMBERS:
        return _NUMBERS[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        operand = _value(node.operand)
        if isinstance(operand, (int, float)):
            return -operand
    if isinstance(node, (ast.List, ast.Tuple)):
        kind = list if isinstance(node, ast.List) else tuple
        return kind(_value(part) for part in node.elts)
    if isinstance(node, ast.Dict) and all(node.keys):
        keys = [_value(key) for key in node.keys if key is not None]
        return dict(zip(keys, map(_value, node.values), strict=True))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        named = {str(word.arg): _value(word.value) for word in node.keywords if word.arg}
        if len(named) == len(node.keywords) and all(isinstance(a, ast.Dict) for a in node.args[:1]):
            return {key: v for a in node.args[:1] for key, v in _value(a).items()} | named
    raise _Unplain(node)


def _needed(whole: dict[str, Any], text: str, path: str | Path) -> Config:
    """Return a config of what a prediction needs."""
    loader = whole.get('test_dataloader') or whole.get('val_dataloader')
    if not isinstance(whole.get('model'), dict) or not isinstance(loader, dict):
        raise _refused(path, 'it has no model, or no test_dataloader')
    try:
        dataset = innermost_dataset(loader)
        pipeline = dataset['pipeline']
        metainfo = dataset.get('metainfo') or {}
    except (AttributeError, KeyError, TypeError, StopIteration, RecursionError) as error:
        raise _refused(path, 'the dataset of its test_dataloader has no pipeline') from error
    model = dict(whole['model'])
    if 'data_preprocessor' in whole:
        model.setdefault('data_preprocessor', whole['data_preprocessor'])
    if model.get('type') == 'DistilledClassifier':  # evaluation needs no teacher
        model['type'] = 'ImageClassifier'
        model = {k: v for k, v in model.items() if k not in ('teacher', 'distillation')}
    kept = dict(
        default_scope=whole.get('default_scope'),
        model=_without(model),
        test_dataloader=dict(dataset=dict(pipeline=pipeline, metainfo=metainfo)),
    )
    cfg = Config(kept, cfg_text=text, filename=str(path))
    task_name(cfg)  # refuses another scope
    return cfg


def _without(node: Any) -> Any:
    """Return an entry without what would load other weights."""
    if isinstance(node, dict):
        return {key: _without(v) for key, v in node.items() if key not in _WITHOUT_EFFECT}
    if isinstance(node, (list, tuple)):
        return type(node)(_without(value) for value in node)
    return node


def _import_modules(whole: dict[str, Any], path: str | Path) -> None:
    """Import what registers the types of a config.

    Raises:
        InputError: If a module is not of the packages that may be imported, or is not there.
    """
    imports = whole.get('custom_imports') or {}
    names = entries(imports, 'imports') if isinstance(imports, dict) else [imports]
    for name in names:
        parts = name.split('.') if isinstance(name, str) else ['']
        if parts[0] not in (*_PACKAGES, *_LIBRARIES) or '__main__' in parts:
            known = ', '.join((*_PACKAGES, *_LIBRARIES))
            raise _refused(path, f'it imports {plain_name(name)}, and only {known} are imported')
    for name in names:
        try:
            import_module(name)
        except ImportError as error:
            raise _refused(path, f'its module {name} cannot be imported: {error}') from error


def _check(place: str, node: Any, path: str | Path) -> None:
    """Refuse types that no registry holds, and what could name a file.

    Raises:
        InputError: Naming the entry.
    """
    for where, key, value in _leaves(place, node):
        if key in _REFUSED:
            raise _refused(path, f'{where} is not read from a checkpoint')
        if key == 'type':
            if not isinstance(value, str) or not _is_registered(value):
                raise _refused(path, f'{where}={plain_name(value)} is no registered class')
        elif key == '_scope_' and value not in _PACKAGES:
            raise _refused(path, f'{where}={plain_name(value)} is no scope that is known')
        elif isinstance(value, str) and not _WORD.fullmatch(value):
            raise _refused(path, f'{where}={plain_name(value)} is no word; it could name a file')


def _leaves(place: str, node: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield name, last part of it, and value of every entry that is neither dictionary nor list."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key in _REFUSED:
                yield f'{place}.{key}', key, value
            elif isinstance(value, (Mapping, list, tuple)) and key != 'type':
                yield from _leaves(f'{place}.{key}', value)
            else:
                yield f'{place}.{key}', str(key), value
    elif isinstance(node, (list, tuple)):
        for number, value in enumerate(node):
            yield from _leaves(f'{place}.{number}', value)
    else:
        yield place, '', node


def _is_registered(kind: str) -> bool:
    """Return whether a type is a class of a registry, so that looking it up imports nothing.

    MMEngine takes a name that it does not know for the path of an object, and imports its module.
    """
    scope, _, name = kind.rpartition('.')
    if scope and scope.partition('.')[0] not in _PACKAGES:
        return False
    if kind in _FUNCTIONS:
        return True
    known = [found.module_dict[name] for found in _registries() if name in found.module_dict]
    return bool(known) and all(
        isinstance(one, type) and not one.__module__.startswith(_REFUSED_MODULES) for one in known
    )


def _registries() -> Iterator[Registry]:
    """Yield the registries of models and transforms, and those of the frameworks below them."""
    for root in _REGISTRIES:
        for found in (root, *root.children.values()):
            found.import_from_location()
            yield found


def _refused(path: str | Path, reason: str) -> InputError:
    return InputError(
        f'{path}: the config in this checkpoint is not used: {reason}. A checkpoint may come from '
        'anybody; a config of your own may hold anything: give it as config=FILE.py, or before the '
        'checkpoint on the command line'
    )
