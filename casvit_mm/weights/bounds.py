"""Bounds of what a file of weights asks for: a small file cannot take much memory or time."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, strided

__all__ = ['check_archive', 'check_content']

_MAX_DEPTH = 100
# What is stored once and referred to several times counts each time.
_MAX_FACTOR = 100
_FREE_BYTES = 2**20


def check_archive(path: Path) -> None:
    """Refuse an archive that is damaged, or whose parts are larger than itself.

    torch stores the parts as they are, and does not look at their checksums: a flipped bit would be
    a wrong weight. One more read of the file, about a third of the time that torch takes for it.

    Raises:
        ValueError: If the parts are larger, or one does not have the checksum that was stored.
        zipfile.BadZipFile: If it is damaged in another way.
    """
    with zipfile.ZipFile(path) as archive:
        declared = sum(part.file_size for part in archive.infolist())
    if declared > path.stat().st_size:
        raise ValueError(
            f'its parts take {declared:,} bytes once they are unpacked, which torch.save does not '
            'write'
        )
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            if part.CRC:  # 0 where torch was told to leave it out
                _check_part(archive, part)


def _check_part(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    try:
        with archive.open(part) as file:
            while file.read(2**20):
                pass
    except zipfile.BadZipFile as error:
        raise ValueError(f'its part {part.filename} is damaged, e.g. by a flipped bit') from error


def check_content(content: dict[str, Any], size: int) -> None:
    """Refuse what a file of ``size`` bytes cannot hold, and tensors that are no plain arrays.

    Raises:
        ValueError: If values are nested deeply or within themselves, or tensors claim to hold much
            more than the file does.
    """
    claimed = _Claims(size).of(content, 0)
    if claimed > _MAX_FACTOR * size + _FREE_BYTES:
        raise ValueError(f'its values claim to take {claimed:,} bytes')


class _Claims:
    """The bytes, roughly, that values of a file would take if nothing were shared."""

    def __init__(self, size: int) -> None:
        self._size = size
        # By the identity of containers; None while they are looked into.
        self._known: dict[int, int | None] = {}

    def of(self, value: Any, depth: int) -> int:
        """Return the bytes of a value that lies in ``depth`` containers."""
        if isinstance(value, Tensor):
            return self._of_tensor(value)
        if isinstance(value, (str, bytes)):
            return len(value)
        if isinstance(value, int):
            return value.bit_length() // 8 + 1
        if isinstance(value, Mapping):
            inside = [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple, set, frozenset)):
            inside = list(value)
        else:
            return 1
        if depth > _MAX_DEPTH:
            raise ValueError(f'its values are nested deeper than {_MAX_DEPTH}')
        key = id(value)
        if key not in self._known:
            self._known[key] = None
            self._known[key] = 1 + sum(self.of(part, depth + 1) for part in inside)
        found = self._known[key]
        if found is None:
            raise ValueError('a value in it lies within itself')
        return found

    def _of_tensor(self, value: Tensor) -> int:
        if value.layout != strided or value.device.type != 'cpu' or value.is_quantized:
            raise ValueError('a tensor in it is no plain array')
        if value.untyped_storage().nbytes() > self._size:  # torch 2.4 reads behind the end
            raise ValueError(
                f'a tensor in it of shape {tuple(value.shape)} is larger than the file'
            )
        return value.numel() * value.element_size()
