"""Fields of a description that name classes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from casvit_mm.errors import InputError

__all__ = ['read_class_map', 'read_names', 'require_text']


def require_text(names: Iterable[Any], path: Path, field: str = 'classes') -> None:
    """Refuse names of classes that YAML does not take for text, like on, 01, 1.10 or null.

    Raises:
        InputError: Asking for quotation marks.
    """
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise InputError(
                f'{path}: YAML takes a name under {field} for {name!r}, which is no text. Put such '
                "names in quotation marks, like 'on', '01' or 'null'."
            )


def read_names(value: Iterable[Any], path: Path, field: str = 'classes') -> tuple[str, ...]:
    """Return the names of classes that stand under ``field``, without blanks around them.

    Raises:
        InputError: If one is no text to YAML, or stands twice.
    """
    value = list(value)
    require_text(value, path, field)
    names = tuple(name.strip() for name in value)
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(
            f'{path}: {field} names {twice[0]!r} twice; every class needs its own name'
        )
    return names


def read_class_map(value: Any, path: Path) -> dict[str, tuple[str, ...]]:
    """Return what stands under ``classes`` as names, each with what counts as it in the files.

    Args:
        value: A list of names, or names with what counts as them, like ``{pet: [cat, dog]}``.
        path: The description.

    Raises:
        InputError: If it is neither, a name is no text to YAML or stands twice, or something counts
            as two classes.
    """
    if not isinstance(value, (list, dict)) or not value:
        raise InputError(
            f'{path}: classes must be a list of names, like [cat, dog], or new names with what '
            'counts as them, like {pet: [cat, dog], bird: bird}'
        )
    names = read_names(value, path)
    if isinstance(value, list):
        return {name: (old,) for name, old in zip(names, value, strict=True)}
    # What counts stands here as in the files, with blanks around it.
    classes = {
        new: tuple(old) if isinstance(old, list) else (old,)
        for new, old in zip(names, value.values(), strict=True)
    }
    require_text((old for olds in classes.values() for old in olds), path)
    if empty := [new for new, olds in classes.items() if not olds]:
        raise InputError(f'{path}: classes takes nothing for {empty[0]!r}; name what counts as it')
    sources = [old for names in classes.values() for old in names]
    twice = sorted({old for old in sources if sources.count(old) > 1})
    if twice:
        raise InputError(f'{path}: classes takes {twice[0]!r} into two classes; choose one')
    return classes
