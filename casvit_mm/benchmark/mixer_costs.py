"""What a token mixer costs over the number of tokens, as ``casvit-mm study-mixers`` measures it."""

from __future__ import annotations

import copy
import io
import math
import platform
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from rich import box
from rich.table import Table
from torch import Tensor, nn

from casvit_mm.benchmark.cost import count_parameters
from casvit_mm.benchmark.scaling import fit_exponent
from casvit_mm.engine.timing import Schedule, make_timer, time_calls
from casvit_mm.errors import InputError
from casvit_mm.io import replacing, write_json
from casvit_mm.models.complexity import multiply_adds
from casvit_mm.models.memory import peak_of_call
from casvit_mm.models.token_mixers import TOKEN_MIXERS, build_token_mixer
from casvit_mm.plotting.figures import save_figure
from casvit_mm.plotting.tables import LiteralConsole

__all__ = ['SIDES', 'compare_costs', 'measure', 'mixer_names', 'publish_tables', 'short_name']

SIDES = (7, 14, 28, 56, 84, 128)
_FITTED = 3  # largest maps that decide the exponent; below, calls cost more than arithmetic
_CALLS = 3  # per turn: the slowest mixers take a second each
_SETTLE = 0.05  # seconds of calls before those
_UNITS = {  # of the metrics: title, unit, how many of the measured ones make one
    'multiply_adds': ('multiply-adds', 'M', 1e6),
    'seconds': ('latency', 'ms', 1e-3),
    'bytes': ('peak memory', 'MB', 1e6),
}


def mixer_names(wanted: Sequence[str] | None = None) -> list[str]:
    """Return the names to study: those wanted, or all that are registered.

    Raises:
        InputError: If a name is not registered.
    """
    known = list(TOKEN_MIXERS.module_dict)
    unknown = [name for name in wanted or [] if name not in known]
    if unknown:
        raise InputError(f'unknown token mixer {unknown[0]!r}, expected some of {", ".join(known)}')
    return list(wanted or known)


def measure(
    names: Sequence[str], dim: int, sides: Sequence[int], rounds: int, device: str
) -> dict[str, dict[str, Any]]:
    """Measure the forward pass of each mixer on square maps, one image at a time.

    Args:
        names: Registered mixers.
        dim: Number of channels.
        sides: Sides of the maps in positions, ascending.
        rounds: Turns of each mixer, in random order: what disturbs the machine for a while
            disturbs all of them.
        device: ``'cpu'`` or ``'cuda'``.

    Returns:
        By mixer ``parameters``; ``multiply_adds``, ``seconds`` (median) and ``bytes`` (peak beyond
        input and weights), each a list over ``sides``; and ``exponents`` of the latter three over
        the number of tokens, fitted to the three largest sides, NaN where a value is 0.
    """
    mixers = {name: build_token_mixer(dict(type=name), dim).eval().to(device) for name in names}
    costs: dict[str, dict[str, Any]] = {
        name: dict(parameters=count_parameters(mixer)) | {metric: [] for metric in _UNITS}
        for name, mixer in mixers.items()
    }
    for name, mixer in mixers.items():
        plain = copy.deepcopy(mixer).to('meta')
        costs[name]['multiply_adds'] = [
            multiply_adds(plain, torch.empty(1, dim, side, side, device='meta')) for side in sides
        ]
    with torch.inference_mode():  # in which torch 2.4 counts no multiply-adds
        for side in sides:
            x = torch.rand(1, dim, side, side, device=device)
            for name, mixer in mixers.items():
                costs[name]['bytes'].append(peak_of_call(partial(mixer, x), device))
            for name, seconds in _latencies(mixers, x, rounds).items():
                costs[name]['seconds'].append(seconds)
    tokens = [side**2 for side in sides]
    for cost in costs.values():
        cost['exponents'] = {metric: _exponent(tokens, cost[metric]) for metric in _UNITS}
    return costs


def _latencies(mixers: dict[str, nn.Module], x: Tensor, rounds: int) -> dict[str, float]:
    """Return the median seconds of a forward pass of each mixer, timed in turn."""
    calls = [partial(mixer, x) for mixer in mixers.values()]
    schedule = Schedule(rounds, _CALLS, _SETTLE, seed=0)
    seconds = time_calls(calls, make_timer(x.device.type), schedule)  # (mixers, rounds, calls)
    return dict(zip(mixers, np.median(seconds, axis=(1, 2)).tolist(), strict=True))


def _exponent(tokens: Sequence[int], values: Sequence[float]) -> float:
    """Return ``e`` of the ``tokens ** e`` that fits the last values best."""
    tokens, values = tokens[-_FITTED:], values[-_FITTED:]
    if min(values) <= 0 or len(values) < 2:
        return math.nan
    return fit_exponent(tokens, values)


def compare_costs(
    names: Sequence[str],
    out: str | Path,
    *,
    dim: int = 64,
    sides: Sequence[int] = SIDES,
    rounds: int = 7,
    device: str = 'cpu',
) -> dict[str, dict[str, Any]]:
    """Measure, print the tables, and write ``costs.json``, ``costs.md`` and ``costs.png``.

    Args:
        names: Registered mixers.
        out: Folder to write to.
        dim: As for :func:`measure`, and so are the others.
        sides: Sides of the maps.
        rounds: Turns of each mixer.
        device: Where to measure.

    Returns:
        What :func:`measure` returns.

    Raises:
        InputError: If an argument is out of its range or a file cannot be written.
    """
    if dim < 1 or rounds < 1 or min(sides) < 1:
        raise InputError('--dim, --rounds and --sides must be positive')
    if device == 'cuda' and not torch.cuda.is_available():
        raise InputError('--device cuda: torch finds no GPU here')
    sides = sorted(set(sides))
    try:
        costs = measure(names, dim, sides, rounds, device)
    except ValueError as error:
        raise InputError(f'--dim {dim}: {error}') from error
    facts = dict(
        dim=dim,
        sides=sides,
        rounds=rounds,
        device=torch.cuda.get_device_name() if device == 'cuda' else platform.machine(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )
    write_json(Path(out, 'costs.json'), {'facts': facts, 'mixers': costs})
    publish_tables([_cost_table(costs, sides, metric) for metric in _UNITS], Path(out, 'costs.md'))
    where = f'{dim} channels, 1 image, {facts["device"]}, threads: {facts["threads"]}'
    _draw_costs(costs, sides, Path(out, 'costs.png'), f'Token mixers, forward pass: {where}')
    return costs


def _cost_table(costs: dict[str, dict[str, Any]], sides: Sequence[int], metric: str) -> Table:
    title, unit, size = _UNITS[metric]
    table = Table(box=box.MARKDOWN)
    table.add_column(f'{title} ({unit})', no_wrap=True)
    for column in ('parameters', *(f'{side}x{side}' for side in sides), 'grows as'):
        table.add_column(column, justify='right', no_wrap=True)
    for name, cost in costs.items():
        table.add_row(
            short_name(name),
            f'{cost["parameters"]:,}',
            *(_three_digits(value / size) for value in cost[metric]),
            _growth(cost['exponents'][metric]),
        )
    return table


def short_name(name: str) -> str:
    """Return what tables and pictures call a mixer."""
    return name.removesuffix('TokenMixer')


def _three_digits(value: float) -> str:
    """Return a number with three digits, and with all those before the point."""
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f'{value:,.{min(max(digits, 0), 4)}f}'


def publish_tables(tables: Sequence[Table], path: Path) -> None:
    """Print tables and write them as Markdown.

    Raises:
        InputError: If the file cannot be written.
    """
    console = LiteralConsole(file=io.StringIO(), width=200)
    for table in tables:
        console.print(table)
    text = '\n'.join(line.strip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]
    print(text)
    with replacing(path) as file:
        file.write(text.strip() + '\n')


def _draw_costs(
    costs: dict[str, dict[str, Any]], sides: Sequence[int], out: Path, title: str
) -> None:
    """Draw each metric over the number of tokens, both axes logarithmic."""
    figure = Figure(figsize=(13, 4.8), dpi=110, layout='constrained')
    figure.suptitle(title)
    tokens = np.square(sides)
    panels = figure.subplots(1, len(_UNITS))
    for axis, (key, (name, unit, size)) in zip(panels, _UNITS.items(), strict=True):
        for number, (mixer, cost) in enumerate(costs.items()):
            axis.plot(
                tokens,
                # Nothing to multiply has no place on a logarithmic axis.
                [value / size if value else np.nan for value in cost[key]],
                marker='osD^vP*X'[number % 8],
                color=colormaps['tab10'](number % 10),
                label=short_name(mixer),
            )
        some = any(value for cost in costs.values() for value in cost[key])
        axis.set(xscale='log', yscale='log' if some else 'linear')
        axis.set(xlabel='tokens', title=f'{name} ({unit})')
        axis.set_xticks(tokens, [f'{side}²' for side in sides], fontsize=9)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    handles, _ = panels[0].get_legend_handles_labels()
    labels = [f'{short_name(n)}  {_growth(c["exponents"]["seconds"])}' for n, c in costs.items()]
    figure.legend(handles, labels, loc='outside right upper', title='latency grows as', fontsize=9)
    save_figure(figure, out)


def _growth(exponent: float) -> str:
    return '-' if math.isnan(exponent) else f'N^{exponent:.2f}'
