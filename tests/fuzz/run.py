"""Runs readers on damaged input until time is over."""

import faulthandler
import hashlib
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from casvit_mm.errors import InputError
from casvit_mm.io import limited_memory
from fuzz.readers import READERS, Reader

__all__ = ['fuzz', 'try_reader']

_SECONDS = 5  # of the processor
_HANG = 120  # seconds after which the process ends with a traceback
_ROUND = 500  # inputs of one seed


def fuzz(names: Sequence[str], minutes: float, first_seed: int, out: Path) -> int:
    """Fuzz readers in turn, and return the number of faults.

    Raises:
        InputError: If there is no such reader.
    """
    unknown = sorted(set(names) - set(READERS))
    if unknown:
        raise InputError(f'no reader {unknown[0]!r}; known are {", ".join(READERS)}')
    total = 0
    for name in names or READERS:
        out.joinpath(name).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            reader = READERS[name](Path(folder))
            faults = _Faults(reader, out / name)
            end = time.monotonic() + 60 * minutes
            number = first_seed
            while time.monotonic() < end:
                faults.search(number)
                number += 1
            print(f'{name}: {faults.tried} inputs, {len(faults.found)} faults', flush=True)
            total += len(faults.found)
    return total


def try_reader(reader: Reader, count: int) -> None:
    """Give a reader ``count`` inputs, the same ones each time.

    Raises:
        Exception: Of any kind but InputError, that it raises.
    """

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(reader.inputs)
    def once(content: bytes) -> None:
        _read(reader, content)

    with limited_memory(Path(__file__)):
        once()


def _read(reader: Reader, content: bytes) -> None:
    start = time.process_time()  # however busy the machine is
    faulthandler.dump_traceback_later(_HANG, exit=True)
    try:
        reader.read(content)
    except InputError:
        pass
    finally:
        faulthandler.cancel_dump_traceback_later()
    seconds = time.process_time() - start
    if seconds > _SECONDS:
        raise TimeoutError(f'{seconds:.0f} seconds')


class _Faults:
    """The faults of one reader, each by where it was raised."""

    def __init__(self, reader: Reader, out: Path) -> None:
        self.tried = 0
        self.found: set[str] = set()
        self._reader = reader
        self._out = out

    def search(self, number: int) -> None:
        """Try a round of inputs; report the first fault that is not known."""
        shortest: dict[str, tuple[bytes, str]] = {}

        @seed(number)
        @settings(
            max_examples=_ROUND,
            deadline=None,
            database=DirectoryBasedExampleDatabase(self._out / 'examples'),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        @given(self._reader.inputs)
        def once(content: bytes) -> None:
            self.tried += 1
            # A crash of the process leaves its input behind.
            (self._out / 'last').write_bytes(content)
            try:
                _read(self._reader, content)
            except Exception as error:
                place = _place(error)
                if place in self.found:
                    return
                kept = shortest.get(place)
                if kept is None or len(content) <= len(kept[0]):
                    shortest[place] = (content, traceback.format_exc())
                raise

        try:
            with limited_memory(Path(__file__)):
                once()
        except Exception:
            if not shortest:
                raise
        for place, (content, text) in shortest.items():
            self.found.add(place)
            name = hashlib.sha256(place.encode()).hexdigest()[:8]
            (self._out / name).write_bytes(content)
            print(f'{self._out / name}: {content[:2000]!r}\n{text}', flush=True)


def _place(error: Exception) -> str:
    """Return the kind of an error and the innermost place in our code."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if 'casvit_mm/' in frame.filename]
    last = (ours or frames)[-1]
    return f'{type(error).__name__} {last.filename}:{last.lineno}'
