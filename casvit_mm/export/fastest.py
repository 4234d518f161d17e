"""The format whose engine is the fastest on this machine."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from casvit_mm.deploy.predictor import load
from casvit_mm.errors import InputError
from casvit_mm.export.export import Exported, move
from casvit_mm.export.formats import FORMATS, Format
from casvit_mm.io import check_writable
from casvit_mm.timing import Schedule, WallTimer, statistics, time_calls

__all__ = ['Fastest', 'export_fastest']

_CANDIDATES = ('onnx', 'openvino')
_SCHEDULE = Schedule(rounds=9, calls=3, settle=0.3, seed=0)


@dataclass(frozen=True)
class Fastest:
    """What :func:`export_fastest` kept, and why.

    Attributes:
        exported: The file.
        milliseconds: Median time of one call, by format.
    """

    exported: Exported
    milliseconds: dict[str, float]

    def __str__(self) -> str:
        order = sorted(self.milliseconds, key=lambda name: self.milliseconds[name])
        times = ', '.join(f'{name} {self.milliseconds[name]:.1f} ms' for name in order)
        return f'{self.exported}\n  fastest on this machine: {times}'


def export_fastest(
    write: Callable[[str, str], Exported], out: str, precision: str = 'fp32'
) -> Fastest:
    """Export to ONNX and to OpenVINO, time both in turn on an image, and keep the faster.

    Args:
        write: Takes a format and a file, exports to them, and returns what was written.
        out: File to write, without a suffix.
        precision: The one in which ``write`` exports.

    Raises:
        InputError: If ``out`` has the suffix of a format, or none of the engines is installed; or
            as ``write`` raises it.
    """
    suffixes = [kind.suffix for kind in FORMATS.values()]
    if Path(out).suffix in suffixes:
        raise InputError(
            f'--out {out}: --format fastest adds the suffix of what it keeps; leave out '
            f'{Path(out).suffix}'
        )
    kinds = {name: FORMATS[name] for name in _CANDIDATES if _possible(FORMATS[name], precision)}
    if not kinds:
        raise InputError(
            'none of the engines is installed that --format fastest compares (onnxruntime, '
            "OpenVINO). Install them: pip install '.[export]'"
        )
    targets = {name: Path(out + kind.suffix) for name, kind in kinds.items()}
    check_writable({'--out': str(next(iter(targets.values())))}, {})
    with tempfile.TemporaryDirectory(dir=Path(out).parent, prefix='.export-') as folder:
        done = {
            name: write(name, str(Path(folder, f'model{kind.suffix}')))
            for name, kind in kinds.items()
        }
        taken = _time(done)
        best = min(taken, key=lambda name: taken[name])
        move(kinds[best].files(done[best].path), kinds[best].files(targets[best]))
    return Fastest(replace(done[best], path=targets[best]), taken)


def _possible(kind: Format, precision: str) -> bool:
    """Return whether a format has the precision, and its packages are installed."""
    found = (importlib.util.find_spec(package) for package in kind.needs(precision))
    installed = all(spec is not None for spec in found)
    return installed and precision in kind.precisions


def _time(done: dict[str, Exported]) -> dict[str, float]:
    """Return the median milliseconds of one call of each file, timed in turn."""
    calls = []
    for each in done.values():
        assert each.example is not None  # both formats are run and compared
        calls.append(partial(load(each.path).run, each.example))
    seconds = time_calls(calls, WallTimer(), _SCHEDULE)
    return {name: statistics(times)['p50'] for name, times in zip(done, seconds, strict=True)}
