"""What was read of files at an earlier start, kept by path, size and date.

One file of JSON for each folder, in ``~/.cache/casvit_mm/scans`` or where the environment variable
``CASVIT_MM_CACHE`` says. What cannot be read or does not fit is ignored and written anew; where
nothing can be written, nothing is remembered. All of it may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2
import PIL

from casvit_mm.errors import InputError
from casvit_mm.io import pixel_limit, replacing

__all__ = ['CACHE', 'ScanMemory', 'cache_folder']

R = TypeVar('R')

CACHE = 'CASVIT_MM_CACHE'
_RULES = 1  # to be raised when a check of images or masks finds something else
_SETTLED = 2 * 10**9  # ns: a file that has just been written can change and keep its date


@dataclass(frozen=True)
class ScanMemory(Generic[R]):
    """Reads files of which nothing is remembered, and remembers what was read.

    Attributes:
        kind: What is read, with all that it depends on beside the file.
        read: Reads one file.
        pack: Returns the plain values to remember; None for what is to be read again, which every
            result with a fault should be.
        unpack: The reverse.
    """

    kind: str
    read: Callable[[Path], R]
    pack: Callable[[R], Any]
    unpack: Callable[[Any], R]

    def recall(
        self,
        paths: Sequence[str | Path],
        run: Callable[[Callable[[str], R], Sequence[str]], list[R]],
    ) -> list[R]:
        """Return what ``read`` does for each of ``paths``.

        Args:
            paths: The files.
            run: Applies a function to all of them, perhaps in threads, as ``map`` does.
        """
        whole = [os.path.abspath(path) for path in paths]
        by_folder: dict[str, list[int]] = {}
        for i, path in enumerate(whole):
            by_folder.setdefault(os.path.dirname(path), []).append(i)
        results: dict[int, R] = {}
        keys: dict[int, list[int]] = {}  # of what is not known
        for folder, positions in by_folder.items():
            known = self._load(folder)
            for i in positions:
                entry, key = known.get(os.path.basename(whole[i])), _key(whole[i])
                if entry is not None and key == entry[:-1]:
                    results[i] = self.unpack(entry[-1])
                else:
                    keys[i] = key
        unknown = sorted(keys)
        if unknown:
            found = run(lambda path: self.read(Path(path)), [whole[i] for i in unknown])
            results.update(zip(unknown, found, strict=True))
        fresh: dict[str, dict[str, Any]] = {}
        for i, key in keys.items():
            packed = self.pack(results[i])
            if packed is not None and key and time.time_ns() - max(key[1:]) > _SETTLED:
                folder, name = os.path.split(whole[i])
                fresh.setdefault(folder, {})[name] = [*key, packed]
        for folder, entries in fresh.items():
            self._save(folder, {**self._load(folder), **entries})
        return [results[i] for i in range(len(whole))]

    def _load(self, folder: str) -> dict[str, Any]:
        place = self._place(folder)
        if place is None:
            return {}
        try:
            digest, _, body = place.read_text().partition('\n')
            if digest != hashlib.sha256(body.encode()).hexdigest():
                return {}
            content = json.loads(body)
        except (OSError, ValueError):
            return {}
        return content['files'] if content['by'] == _readers() else {}

    def _save(self, folder: str, files: dict[str, Any]) -> None:
        place = self._place(folder)
        if place is None:
            return
        try:
            there = set(os.listdir(folder))
            kept = {name: entry for name, entry in files.items() if name in there}
            body = json.dumps(dict(by=_readers(), files=kept))
            with replacing(place, part=f'.{os.getpid()}') as file:
                file.write(hashlib.sha256(body.encode()).hexdigest() + '\n' + body)
        except (OSError, InputError):
            pass  # the next start reads again

    def _place(self, folder: str) -> Path | None:
        top = cache_folder()
        if top is None:
            return None
        digest = hashlib.sha256(os.fsencode(folder) + b'\0' + self.kind.encode()).hexdigest()
        return top / 'scans' / f'{digest[:32]}.json'


def cache_folder() -> Path | None:
    """Return the folder of all that may be deleted at any time; None where there is no home."""
    try:
        return Path(os.environ.get(CACHE) or Path.home() / '.cache/casvit_mm')
    except RuntimeError:
        return None


def _readers() -> list[Any]:
    """Return what decides on a result beside the file."""
    return [_RULES, PIL.__version__, cv2.__version__, pixel_limit()]


def _key(path: str) -> list[int]:
    """Return size and dates of a file; nothing of one that is not there."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return []
    # A copy can bring its old date of change along, but not that of its entry.
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
