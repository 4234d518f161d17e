"""The description of a model behind the content of its file, as a zip archive.

A FlatBuffer knows its own length, so engines leave out what follows. TensorFlow Lite's metadata
keeps its associated files, such as lists of labels, in the same place; any reader of zip finds
them.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

from casvit_mm.deploy.spec import KEY, Spec

__all__ = ['attach', 'read_attached']

_SPEC = f'{KEY}.json'
_OUTPUTS = f'{KEY}_outputs.json'  # names, in the order in which the file has them
_MAX_BYTES = 2**24


def attach(path: Path, spec: Spec, outputs: Sequence[str]) -> None:
    """Write a description behind the content of a file that has none.

    Args:
        path: File to write.
        spec: What it says of itself.
        outputs: Names of its outputs, in their order.
    """
    with zipfile.ZipFile(path, 'a', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_SPEC, spec.to_json())
        archive.writestr(_OUTPUTS, json.dumps(list(outputs)))


def read_attached(path: Path) -> tuple[str | None, tuple[str, ...] | None]:
    """Return the text of a description and the names of the outputs; None where there are none.

    Raises:
        Exception: Of zipfile or json, if what follows the content is damaged.
    """
    if not zipfile.is_zipfile(path):
        return None, None
    with zipfile.ZipFile(path) as archive:
        known = {one.filename: one.file_size for one in archive.infolist()}
        if _SPEC not in known or _OUTPUTS not in known:
            return None, None
        if max(known[_SPEC], known[_OUTPUTS]) > _MAX_BYTES:
            raise ValueError('its description is larger than any of ours')
        names = json.loads(archive.read(_OUTPUTS))
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError('the names of its outputs are no list of names')
        return archive.read(_SPEC).decode(), tuple(names)
