"""What is done of a prediction: parts on the disk, until all of them are there.

A part is written in one step once it is whole, by whichever process has made it. So a run that was
killed goes on with the parts that are missing, and with any number of processes. The name of a part
says which sources it is about, with their sizes and times.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from casvit_mm.distributed.folder_lock import FolderInUseError, lock
from casvit_mm.errors import InputError
from casvit_mm.io import replacing, write_json
from casvit_mm.prediction.parts import Part, Plan

__all__ = ['Unfinished']

_SECONDS = 30.0  # that a network file system may take to show a file to another host


class Unfinished:
    """The parts that are there, in ``<out-dir>/.unfinished/``.

    Args:
        out: Folder of the results.
    """

    def __init__(self, out: Path) -> None:
        self.folder = out / '.unfinished'
        self._settings = self.folder / 'settings.json'
        self._lock = out / '.predict.lock'

    def begin(self, settings: dict[str, Any]) -> str:
        """Take the folder for this run; rank 0 does so for all.

        Args:
            settings: What decides about the results; parts that are there must have been made so.

        Returns:
            What the user should know.

        Raises:
            InputError: If another run has the folder, or left parts of other settings.
            OSError: If it cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            missing = lock(self._lock)
        except FolderInUseError as error:
            raise InputError(
                f'another prediction writes to {self.folder.parent}: {error}. Wait for it or end '
                f'it, or name another --out-dir. (It holds the lock {self._lock}.)'
            ) from None
        if self.any():
            self._compare(settings)
        write_json(self._settings, settings)
        if not missing:
            return ''
        return (
            f'note: {self.folder.parent} cannot be locked ({missing}): take care that no other '
            'prediction uses it'
        )

    def _compare(self, settings: dict[str, Any]) -> None:
        try:
            before = json.loads(self._settings.read_text())
        except (OSError, ValueError) as error:
            raise InputError(
                f'{self._settings} of an unfinished prediction cannot be read: {error}. Remove '
                f'{self.folder} to begin anew, or name another --out-dir.'
            ) from error
        told = [
            f'{key} {_shown(before.get(key))} (now {_shown(settings.get(key))})'
            for key in {**before, **settings}
            if before.get(key) != settings.get(key)
        ]
        if told:
            raise InputError(
                f'an unfinished prediction lies in {self.folder.parent}, made with '
                f'{", ".join(told)}. Give the same again to finish it, name another --out-dir, or '
                f'remove {self.folder} to begin anew.'
            )

    def check_shared(self, first: dict[str, Any], settings: dict[str, Any]) -> None:
        """Refuse processes that do not see the folder of rank 0, or have another model.

        Args:
            first: Settings of rank 0.
            settings: Those of this process.

        Raises:
            InputError: Saying which.
        """
        other = [key for key in first if first[key] != settings.get(key)]
        if other:
            raise InputError(
                f'this process and rank 0 differ in {", ".join(other)}: all hosts need the same '
                'files and arguments'
            )
        end = time.monotonic() + _SECONDS
        while not self._settings.exists():
            if time.monotonic() > end:
                raise InputError(
                    f'{self._settings}, which rank 0 has written, is not here: --out-dir must be a '
                    'folder that all hosts share'
                )
            time.sleep(0.2)

    def find(self, plan: Plan, numbers: Sequence[int]) -> list[int]:
        """Return which parts of some numbers are done, and remove those of other sources."""
        mine = set(numbers)
        done = []
        for path in list(self._files()):
            number = int(path.name.split('-')[0])
            if number not in mine:
                continue
            # What a stream shows is another thing every time.
            is_stream = plan.sources[plan.bounds(number)[0]].kind == 'stream'
            if not is_stream and path.name == f'{number:07d}-{plan.key(number)}.json':
                done.append(number)
            else:
                path.unlink()
        return sorted(done)

    def write(self, number: int, key: str, part: Part) -> None:
        """Keep a part.

        Args:
            number: Of the part.
            key: As :meth:`Plan.key` gave it before the sources were read.
            part: The part.

        Raises:
            InputError: If it cannot be written.
        """
        with replacing(self.folder / f'{number:07d}-{key}.json') as file:
            file.write(part.to_text())

    def read(self, numbers: Sequence[int], partial: tuple[int, Part] | None) -> Iterator[Part]:
        """Yield parts in their order.

        Args:
            numbers: Of the parts.
            partial: Number and content of the one that was cut short; then those that are there
                are yielded, and otherwise all must be.

        Raises:
            InputError: If one is damaged or missing.
        """
        paths = {int(path.name.split('-')[0]): path for path in self._files()}
        for number in numbers:
            if partial and number not in paths:
                if number == partial[0]:
                    yield partial[1]
                continue
            if number not in paths:
                raise InputError(
                    f'part {number} of {len(numbers)} is gone from {self.folder}. Start the same '
                    'command again: it makes that part once more.'
                )
            try:
                yield Part.from_text(paths[number].read_text())
            except (OSError, ValueError, TypeError, KeyError) as error:
                raise InputError(
                    f'{paths[number]} is damaged ({error}). Remove it, and start the same command '
                    'again: it predicts on these files once more.'
                ) from error

    def any(self) -> bool:
        """Return whether there is a part."""
        return any(self._files())

    def remove(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> Iterator[Path]:
        if self.folder.is_dir():
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if entry.name[:7].isdecimal() and entry.name.endswith('.json'):
                        yield Path(entry.path)


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f'{text[:12]}...'
