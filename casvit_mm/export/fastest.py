"""The format, and if wanted the precision, that is the fastest on this machine."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from casvit_mm.deploy.engines import openvino_precisions
from casvit_mm.deploy.predictor import load
from casvit_mm.engine.timing import Schedule, WallTimer, statistics, time_calls
from casvit_mm.errors import InputError
from casvit_mm.export.export import Exported, move
from casvit_mm.export.formats import FORMATS, Format
from casvit_mm.io import check_writable

__all__ = ['Candidate', 'Fastest', 'export_fastest']

_FORMATS = ('onnx', 'openvino')
_SCHEDULE = Schedule(rounds=9, calls=3, settle=0.3, seed=0)

# Takes a format, a file and a precision, exports to them, and returns what was written.
Write = Callable[[str, str, str], Exported]


@dataclass(frozen=True)
class Candidate:
    """A file that could be kept.

    Attributes:
        name: Format and precision.
        milliseconds: Median time of one call.
        error: See :attr:`casvit_mm.export.compare.Comparison.error`.
        allowed: Whether that is within what the user allows.
    """

    name: str
    milliseconds: float
    error: float
    allowed: bool

    def __str__(self) -> str:
        text = f'{self.name} {self.milliseconds:.1f} ms, differs by {100 * self.error:.2g} %'
        return text if self.allowed else f'{text}, more than is allowed'


@dataclass(frozen=True)
class Fastest:
    """What :func:`export_fastest` kept, and why.

    Attributes:
        exported: The file.
        candidates: What was measured, the fastest first.
    """

    exported: Exported
    candidates: tuple[Candidate, ...]

    def __str__(self) -> str:
        lines = [f'    {candidate}' for candidate in self.candidates]
        return '\n'.join([f'{self.exported}', '  measured on this machine:', *lines])


def export_fastest(
    write: Write,
    out: str,
    precisions: Sequence[str] = ('fp32',),
    allow_error: float | None = None,
) -> Fastest:
    """Export to ONNX and OpenVINO, time all in turn on an image, and keep the fastest.

    Args:
        write: Takes a format, a file and a precision, exports to them, and returns what was
            written.
        out: File to write, without a suffix.
        precisions: To try in every format that has them, and that computes in them here.
        allow_error: Maximum of :attr:`Candidate.error`; None leaves it to ``write``.

    Raises:
        InputError: If ``out`` has the suffix of a format, none of the engines is installed, or no
            file is within ``allow_error``; or as ``write`` raises it.
    """
    suffixes = [kind.suffix for kind in FORMATS.values() if out.endswith(kind.suffix)]
    if suffixes:
        raise InputError(
            f'--out {out}: --format fastest adds the suffix of what it keeps; leave out '
            f'{suffixes[0]}'
        )
    tried = [
        (name, precision)
        for name in _FORMATS
        for precision in precisions
        if _possible(FORMATS[name], precision, alone=len(precisions) == 1)
    ]
    if not tried:
        raise InputError(
            'none of the engines is installed that --format fastest compares (onnxruntime, '
            "OpenVINO). Install them: pip install '.[export]'"
        )
    check_writable({'--out': out + FORMATS[tried[0][0]].suffix}, {})
    with tempfile.TemporaryDirectory(dir=Path(out).parent, prefix='.export-') as folder:
        done = [
            write(name, str(Path(folder, f'{precision}{FORMATS[name].suffix}')), precision)
            for name, precision in tried
        ]
        found = _judge(tried, done, allow_error)
        best = min((one for one in found if one.allowed), key=_milliseconds, default=None)
        if best is None:
            least = '; '.join(map(str, found))
            raise InputError(f'--allow-error {allow_error:g}: nothing is within it: {least}')
        kept = done[found.index(best)]
        kind = FORMATS[tried[found.index(best)][0]]
        target = Path(out + kind.suffix)
        move(kind.files(kept.path), kind.files(target))
    return Fastest(replace(kept, path=target), tuple(sorted(found, key=_milliseconds)))


def _milliseconds(candidate: Candidate) -> float:
    return candidate.milliseconds


def _possible(kind: Format, precision: str, alone: bool) -> bool:
    """Return whether a format has the precision, and its packages are installed.

    Beside others, bfloat16 is tried where the processor computes in it: OpenVINO would take
    float32.
    """
    found = (importlib.util.find_spec(package) for package in kind.needs(precision))
    if precision not in kind.precisions or any(spec is None for spec in found):
        return False
    return alone or precision != 'bf16' or 'BF16' in openvino_precisions()


def _judge(
    tried: Sequence[tuple[str, str]], done: Sequence[Exported], allow_error: float | None
) -> list[Candidate]:
    """Return time and error of each file."""
    found = []
    for (name, precision), each, taken in zip(tried, done, _time(done), strict=True):
        assert each.comparison is not None  # both formats are run and compared
        error = each.comparison.error
        allowed = allow_error is None or error <= allow_error
        found.append(Candidate(f'{name} {precision}', taken, error, allowed))
    return found


def _time(done: Sequence[Exported]) -> list[float]:
    """Return the median milliseconds of one call of each file, timed in turn."""
    calls = []
    for each in done:
        assert each.example is not None
        calls.append(partial(load(each.path).run, each.example))
    seconds = time_calls(calls, WallTimer(), _SCHEDULE)
    return [statistics(times)['p50'] for times in seconds]
