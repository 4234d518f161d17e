"""Files of weights, read without running code.

A training file may hold two sets of weights, those of the last step (raw) and their moving average
(EMA): official files under ``model`` and ``model_ema``, MMEngine's under ``ema_state_dict`` and
``state_dict``, timm's under ``state_dict`` and ``state_dict_ema``.
"""

from __future__ import annotations

import argparse
import codecs
import copy
import json
import re
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from casvit_mm.cli import job_command
from casvit_mm.errors import InputError, first_names
from casvit_mm.io import limited_memory
from casvit_mm.weights.bounds import check_archive, check_content
from casvit_mm.weights.prefixes import Stripped, strip_prefix
from casvit_mm.weights.published import how_to_get
from casvit_mm.weights.sources import local_file

__all__ = [
    'AVERAGED_WEIGHTS',
    'RAW_WEIGHTS',
    'SAFETENSORS_META',
    'WEIGHT_SETS',
    'class_names',
    'forget_file',
    'load_file',
    'state_dict_of',
    'weights_of',
]

# Entry of a safetensors file's metadata that holds what ``meta`` holds in a training file, as JSON.
SAFETENSORS_META = 'casvit_mm.meta'
WEIGHT_SETS = {'ema': 'averaged (EMA)', 'raw': 'raw'}
# Where training files of many projects keep the weights of the last step, and their average.
RAW_WEIGHTS = ('state_dict', 'model', 'model_state_dict', 'weights', 'net', 'params')
AVERAGED_WEIGHTS = tuple(f'{key}_ema' for key in RAW_WEIGHTS)
_USUAL = ('state_dict', 'model', 'ema_state_dict', 'model_ema', 'state_dict_ema')

# Harmless classes found in training files beside the weights. Nothing here can call a function
# named in the file; ``getattr`` and its kind never stand in this list.
_ALLOWED_CLASSES: list[Any] = [
    argparse.Namespace,
    Counter,
    np.ndarray,
    np.dtype,
    *{type(np.dtype(code)) for code in '?SU' + np.typecodes['AllInteger'] + np.typecodes['Float']},
]
_SAVE_TENSORS = (
    'Save its tensors alone, on a machine where you trust the file:\n'
    '  content = torch.load(path, weights_only=False)\n'
    "  torch.save(content['state_dict'], 'weights.pth')  # of a checkpoint\n"
    "  torch.save(content.state_dict(), 'weights.pth')  # of a whole model"
)


def _named(function: Callable, module: str) -> Callable:
    """Return ``function`` under the module that a file may know it by."""

    def builder(*args: Any) -> Any:
        return function(*args)

    builder.__module__, builder.__name__ = module, function.__name__
    builder.__qualname__ = function.__name__
    return builder


# What rebuilds a NumPy scalar and a NumPy array; their module was renamed in NumPy 2.
_BUILDERS: tuple[Any, ...] = (np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0])
_NUMPY_BUILDERS = [
    _named(function, f'numpy.{core}.multiarray')
    for function in _BUILDERS
    for core in ('core', '_core')
]


@contextmanager
def _allowing_harmless_classes() -> Iterator[None]:
    """Let ``torch.load(weights_only=True)`` accept the classes above inside the block.

    And none that another library has allowed: MMEngine's list has ``getattr``.
    """
    others = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    # codecs.encode turns text into the bytes of a scalar; torch 2.5 and later allow it themselves.
    torch.serialization.add_safe_globals([*_ALLOWED_CLASSES, *_NUMPY_BUILDERS, codecs.encode])
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(others)


class _Version(NamedTuple):
    """What tells a file from another one, or from itself after a change."""

    path: Path
    size: int
    mtime_ns: int
    inode: int


# The content of the last file that was read, for whoever asks for it next.
_last_read: dict[_Version, dict[str, Any]] = {}


def forget_file() -> None:
    """Free the memory that holds the last file read."""
    _last_read.clear()


def load_file(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU without executing anything it contains.

    Read again, the last file comes from memory, unless it has changed; the returned content is the
    caller's own in any case. :func:`forget_file` frees that memory.

    Args:
        path: A ``.safetensors`` file, or one that ``torch.save`` wrote; or an address or name that
            :func:`casvit_mm.weights.sources.local_file` knows.

    Returns:
        The stored dictionary: a state dict, or a training file with one inside.

    Raises:
        InputError: If the file is missing, cut short, not a checkpoint, or holds a class that only
            executing code could rebuild; or if it asks for more memory than its size explains.
    """
    path = local_file(path)
    if not path.is_file():
        raise InputError(
            f'file of weights {str(path)!r} does not exist.\n'
            f'{how_to_get(str(path))}\nOr give another path, or train without: --from-scratch'
        )
    if path.suffix in ('.onnx', '.xml'):
        raise InputError(
            f'{path} is an exported model, not a file of weights: '
            f'{job_command("test")} evaluates it, and casvit_mm.deploy.load(path) predicts with it'
        )
    stat = path.stat()
    version = _Version(path.absolute(), stat.st_size, stat.st_mtime_ns, stat.st_ino)
    if version in _last_read:
        return copy.deepcopy(_last_read[version])
    forget_file()
    content = _read(path)
    # A file that changed a moment ago could change again within the same tick of the file system.
    if time.time() - stat.st_mtime > 1:
        _last_read[version] = copy.deepcopy(content)
    return content


def _read(path: Path) -> dict[str, Any]:
    """Return what a file holds.

    Raises:
        InputError: As :func:`load_file`.
    """
    try:
        if path.suffix == '.safetensors':
            content = _load_safetensors(path)
            _check(content, path)
            return content
        _refuse_programs(path)
        with _allowing_harmless_classes(), limited_memory(path):
            content = torch.load(path, map_location='cpu', weights_only=True)
        _check(content, path)
    except InputError:
        raise
    except UnpicklingError as error:
        refused = _refused_name(str(error))
        if refused is None:
            raise _damaged(path, 'it is no pickle of tensors') from error
        raise InputError(
            f'{str(path)!r} was not loaded: rebuilding {refused!r} from it could run arbitrary '
            f'code.\n{_SAVE_TENSORS}'
        ) from error
    except MemoryError as error:
        raise _damaged(path, 'it asks for more memory than such a file can fill') from error
    except Exception as error:  # each format has its own way to fail on damaged bytes
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise _damaged(path, lines[0]) from error
    return content


def _check(content: Any, path: Path) -> None:
    """Refuse what is no dictionary, or more than a file of this size can hold."""
    if not isinstance(content, dict):
        raise InputError(f'{str(path)!r} holds a {type(content).__name__}, not a dictionary')
    meta = content.get('meta')
    if not isinstance(meta, (Mapping, type(None))):
        raise ValueError(f"its entry 'meta' is a {type(meta).__name__}, not a dictionary")
    check_content(content, path.stat().st_size)


def _refuse_programs(path: Path) -> None:
    """Refuse the two formats that torch before 2.6 runs in spite of ``weights_only``.

    Asked of torch's own reader, so that no file looks different to it and to us.
    """
    with path.open('rb') as file:
        zipped = file.read(4) == b'PK\x03\x04'
    if zipped:
        reader: Any = torch._C.PyTorchFileReader(str(path))  # declared in part by torch 2.4
        kind = 'a TorchScript program' if 'constants.pkl' in reader.get_all_records() else None
        check_archive(path)
    else:
        kind = 'a tar archive of torch 0.1' if tarfile.is_tarfile(path) else None
    if kind:
        raise InputError(
            f'{str(path)!r} was not loaded: it is {kind}, and reading it could run arbitrary code.'
            f'\n{_SAVE_TENSORS}'
        )


def _refused_name(message: str) -> str | None:
    """Return the class or function that torch refused to rebuild, as its versions put it."""
    match = re.search(r"GLOBAL (\S+)|<(?:class|function|built-in \w+) '?([^\s'>]+)", message)
    return match and (match.group(1) or match.group(2))


def _load_safetensors(path: Path) -> dict[str, Any]:
    """Return a file's tensors, as a training file with ``meta`` where it has ours."""
    from safetensors import safe_open

    with safe_open(path, framework='pt') as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        meta = (file.metadata() or {}).get(SAFETENSORS_META)
    return tensors if meta is None else dict(state_dict=tensors, meta=json.loads(meta))


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f'{str(path)!r} ({path.stat().st_size} bytes) is cut short or not a checkpoint: {reason}\n'
        'Copy or download it again, or name an older checkpoint.'
    )


def state_dict_of(
    content: Mapping[str, Any], path: str | Path, weights: str | None = None
) -> dict[str, Tensor]:
    """Return one set of weights of a training file, or the file itself if it is a state dict.

    Args:
        content: What :func:`load_file` returned.
        path: The file, for the message.
        weights: Which set; see :func:`casvit_mm.load_weights`.

    Raises:
        InputError: If the file holds no tensors, or not the set that is asked for.
    """
    return weights_of(content, path, weights).state


def weights_of(
    content: Mapping[str, Any], path: str | Path, weights: str | None = None
) -> Stripped:
    """Return what :func:`state_dict_of` does, and what wrappers were taken off it.

    Raises:
        InputError: As :func:`state_dict_of`.
    """
    averaged = isinstance(content.get('ema_state_dict'), Mapping)
    # MMEngine exchanges the two sets when it saves, so that the averaged one is found first.
    places = {
        None: (*RAW_WEIGHTS, *AVERAGED_WEIGHTS),
        'ema': ('state_dict',) if averaged else AVERAGED_WEIGHTS,
        'raw': ('ema_state_dict',) if averaged else RAW_WEIGHTS,
    }
    if weights not in places:
        raise InputError(f'weights must be one of {list(WEIGHT_SETS)}, got {weights!r}')
    found = [key for key in places[weights] if _holds_weights(content.get(key))]
    if not found and weights == 'ema':
        raise InputError(
            f'{str(path)!r} holds no averaged (EMA) weights; its training kept none, or they were '
            'left out when it was published. Ask for the raw ones, or name another file.'
        )
    held, place = (content[found[0]], found[0]) if found else (content, '')
    while inner := _container(held, path):
        held, place = held[inner], f'{place}.{inner}'.lstrip('.')
    notes = [f'the weights were found under {place!r}'] if place not in ('', *_USUAL) else []
    if place != 'ema_state_dict' and all(str(key).startswith('module.') for key in held):
        notes.append("the prefix 'module.' was taken off")
    state = {
        re.sub(r'^(?:module\.|_orig_mod\.)+', '', key): value  # DDP and torch.compile add these
        for key, value in held.items()
        # "steps" counts the updates of an average.
        if isinstance(value, Tensor) and isinstance(key, str) and key != 'steps'
    }
    if not state:
        keys = sorted(map(str, content))[:8]
        raise InputError(f'{str(path)!r} holds no weights; its keys are {keys}')
    stripped = strip_prefix(state, path)
    return Stripped(stripped.state, '; '.join(filter(None, [*notes, stripped.note])))


def _container(content: Mapping[str, Any], path: str | Path) -> str | None:
    """Return the one entry of a dictionary without tensors that holds weights, if there is one.

    Raises:
        InputError: If there are several.
    """
    if any(isinstance(value, Tensor) for value in content.values()):
        return None
    found = [k for k, value in content.items() if isinstance(k, str) and _holds_weights(value)]
    found = [key for key in RAW_WEIGHTS if key in found][:1] or found
    if len(found) > 1:
        raise InputError(
            f'{str(path)!r} holds several sets of weights: {first_names(found, 6)}. Save one of '
            f"them: torch.save(checkpoint[{found[0]!r}], 'weights.pth')"
        )
    return found[0] if found else None


def _holds_weights(value: Any, depth: int = 3) -> bool:
    """Return whether a value is a dictionary with tensors by names, in it or in one of its own."""
    if not isinstance(value, Mapping) or not depth:
        return False
    # The state of an optimizer has numbers for keys, and below them names without a dot.
    return any(
        (isinstance(part, Tensor) and isinstance(key, str) and '.' in key)
        or _holds_weights(part, depth - 1)
        for key, part in value.items()
    )


def class_names(checkpoint: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the class names that a checkpoint of mmdet 3, or of mmdet 2, was trained on.

    Args:
        checkpoint: Content of the file.

    Returns:
        The names in the order of the model's outputs; None if the file holds none.
    """
    meta = checkpoint.get('meta') or {}
    described = meta.get('dataset_meta')
    names = described.get('classes') if isinstance(described, Mapping) else None
    names = names or meta.get('CLASSES')
    if isinstance(names, str):  # mmdet 2 stored a single class so
        return (names,)
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names) or None
