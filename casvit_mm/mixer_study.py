"""What a token mixer costs over the number of tokens, and what CAS-ViT reaches with it.

The study behind docs/token_mixers.md, as ``tools/study_mixers.py`` runs it.
"""

from __future__ import annotations

import copy
import io
import json
import math
import multiprocessing
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.profiler import profile
from torch.utils.benchmark import Timer

from casvit_mm.complexity import multiply_adds
from casvit_mm.drawing import save_figure
from casvit_mm.engine import evaluate, train
from casvit_mm.engine.distributed import cli
from casvit_mm.errors import InputError
from casvit_mm.models.token_mixers import TOKEN_MIXERS, build_token_mixer
from casvit_mm.reporting import replacing, write_json

__all__ = ['SIDES', 'compare_accuracies', 'compare_costs', 'measure', 'mixer_names']

SIDES = (7, 14, 28, 56, 84, 128)
_FITTED = 3  # largest maps that decide the exponent; below, calls cost more than arithmetic
_SAMPLE = 0.05  # seconds that one timing takes at least
_UNITS = {  # of the figures: title, unit, how many of the measured ones make one
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
    names: Sequence[str],
    *,
    dim: int = 64,
    sides: Sequence[int] = SIDES,
    rounds: int = 7,
    device: str = 'cpu',
) -> dict[str, dict[str, Any]]:
    """Measure the forward pass of each mixer on square maps, one image at a time.

    Args:
        names: Registered mixers.
        dim: Number of channels.
        sides: Sides of the maps in positions, ascending.
        rounds: Timings of each; every mixer takes its turn before the next round begins, so that
            what disturbs the machine disturbs all of them.
        device: ``'cpu'`` or ``'cuda'``.

    Returns:
        By mixer ``parameters``; ``multiply_adds``, ``seconds`` (median) and ``bytes`` (peak beyond
        input and weights), each a list over ``sides``; and ``exponents`` of the latter three over
        the number of tokens, fitted to the three largest sides, NaN where a figure is 0.
    """
    mixers = {name: build_token_mixer(dict(type=name), dim).eval().to(device) for name in names}
    costs: dict[str, dict[str, Any]] = {
        name: dict(parameters=sum(p.numel() for p in mixer.parameters()))
        | {figure: [] for figure in _UNITS}
        for name, mixer in mixers.items()
    }
    with torch.inference_mode():
        for side in sides:
            x = torch.rand(1, dim, side, side, device=device)
            for name, mixer in mixers.items():
                plain = copy.deepcopy(mixer).to('meta')
                costs[name]['multiply_adds'].append(multiply_adds(plain, x.to('meta')))
                costs[name]['bytes'].append(_peak_bytes(mixer, x))
            for name, seconds in _latencies(mixers, x, rounds).items():
                costs[name]['seconds'].append(seconds)
    tokens = [side**2 for side in sides]
    for cost in costs.values():
        cost['exponents'] = {figure: _exponent(tokens, cost[figure]) for figure in _UNITS}
    return costs


def _peak_bytes(mixer: nn.Module, x: Tensor) -> int:
    """Return the most memory that torch held for the forward pass beyond what was there before."""
    if x.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        mixer(x)
        return torch.cuda.max_memory_allocated() - before
    mixer(x)  # what is allocated once and for all
    with profile(profile_memory=True) as profiler:
        mixer(x)
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, 'trace.json')
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())['traceEvents']
    changes = [event['args']['Bytes'] for event in events if event['name'] == '[memory]']
    return int(np.cumsum(changes).max())


def _latencies(mixers: dict[str, nn.Module], x: Tensor, rounds: int) -> dict[str, float]:
    """Return the median seconds of a forward pass of each mixer, timed in turns."""
    timers = {
        name: Timer('mixer(x)', globals=dict(mixer=mixer, x=x), num_threads=torch.get_num_threads())
        for name, mixer in mixers.items()
    }
    calls = {name: max(1, int(_SAMPLE / timer.timeit(1).mean)) for name, timer in timers.items()}
    samples: dict[str, list[float]] = {name: [] for name in mixers}
    for _ in range(rounds):
        for name, timer in timers.items():
            samples[name].append(timer.timeit(calls[name]).mean)
    return {name: statistics.median(values) for name, values in samples.items()}


def _exponent(tokens: Sequence[int], values: Sequence[float]) -> float:
    """Return ``e`` of the ``tokens ** e`` that fits the last values best."""
    if min(values[-_FITTED:]) <= 0 or len(values) < 2:
        return math.nan
    return float(np.polyfit(np.log(tokens[-_FITTED:]), np.log(values[-_FITTED:]), 1)[0])


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
        rounds: Timings of each.
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
        costs = measure(names, dim=dim, sides=sides, rounds=rounds, device=device)
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
    _publish([_cost_table(costs, sides, figure) for figure in _UNITS], Path(out, 'costs.md'))
    where = f'{dim} channels, 1 image, {facts["device"]}, threads: {facts["threads"]}'
    _draw_costs(costs, sides, Path(out, 'costs.png'), f'Token mixers, forward pass: {where}')
    return costs


def _cost_table(costs: dict[str, dict[str, Any]], sides: Sequence[int], figure: str) -> Table:
    title, unit, size = _UNITS[figure]
    table = Table(box=box.MARKDOWN)
    table.add_column(f'{title} ({unit})', no_wrap=True)
    for column in ('parameters', *(f'{side}x{side}' for side in sides), 'grows as'):
        table.add_column(column, justify='right', no_wrap=True)
    for name, cost in costs.items():
        exponent = cost['exponents'][figure]
        table.add_row(
            _short(name),
            f'{cost["parameters"]:,}',
            *(_three_digits(value / size) for value in cost[figure]),
            '-' if math.isnan(exponent) else f'N^{exponent:.2f}',
        )
    return table


def _short(name: str) -> str:
    return name.removesuffix('TokenMixer')


def _three_digits(value: float) -> str:
    """Return a figure with three digits, and no fewer than stand before the point."""
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f'{value:,.{min(max(digits, 0), 4)}f}'


def _publish(tables: Sequence[Table], path: Path) -> None:
    """Print tables and write them as Markdown."""
    console = Console(file=io.StringIO(), width=200)
    for table in tables:
        console.print(table)
    text = '\n'.join(line.strip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]
    print(text)
    with replacing(path) as file:
        file.write(text.strip() + '\n')


def _draw_costs(
    costs: dict[str, dict[str, Any]], sides: Sequence[int], out: Path, title: str
) -> None:
    """Draw each figure over the number of tokens, both axes logarithmic."""
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
                label=_short(mixer),
            )
        some = any(value for cost in costs.values() for value in cost[key])
        axis.set(xscale='log', yscale='log' if some else 'linear')
        axis.set(xlabel='tokens', title=f'{name} ({unit})')
        axis.set_xticks(tokens, [f'{side}²' for side in sides], fontsize=9)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    handles, labels = panels[0].get_legend_handles_labels()
    labels = [f'{label}  {_growth(costs, label)}' for label in labels]
    figure.legend(handles, labels, loc='outside right upper', title='latency grows as', fontsize=9)
    save_figure(figure, out)


def _growth(costs: dict[str, dict[str, Any]], short: str) -> str:
    exponent = next(c for name, c in costs.items() if _short(name) == short)['exponents']['seconds']
    return '' if math.isnan(exponent) else f'N^{exponent:.2f}'


def compare_accuracies(
    names: Sequence[str],
    data: str,
    out: str | Path,
    *,
    config: str = 'configs/casvit_xs_short.py',
    seeds: Sequence[int] = (0, 1, 2),
    cfg_options: dict | None = None,
) -> dict[str, dict[str, Any]]:
    """Train CAS-ViT with each mixer in every stage; print and write what it reaches.

    Each run has a process of its own and is evaluated with its last checkpoint, on the test split
    or, where there is none, on val. What is done already, is not done again. Writes
    ``accuracy.json``, ``accuracy.md`` and ``accuracy.png``.

    Args:
        names: Registered mixers.
        data: ``dataset.yaml`` of images in classes.
        out: Folder to write to; the runs go to ``runs`` in it.
        config: Recipe.
        seeds: One run for each.
        cfg_options: Config entries to set, by dotted name.

    Returns:
        By mixer ``parameters`` of the classifier, and ``top1`` and ``seconds``, lists over the
        seeds.

    Raises:
        InputError: If a run failed or a file cannot be written.
    """
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    # Seeds outermost: stopped half way, the study still compares all mixers.
    for seed in seeds:
        for name in names:
            folder = Path(out, 'runs', f'{name}_{seed}')
            options = {**(cfg_options or {}), 'model.backbone.token_mixer': dict(type=name)}
            runs[name].append(_run(config, data, folder, seed, options))
    results = {
        name: dict(
            parameters=done[0]['parameters'],
            top1=[run['top1'] for run in done],
            seconds=[run['seconds'] for run in done],
        )
        for name, done in runs.items()
    }
    facts = dict(config=config, data=data, seeds=list(seeds))
    write_json(Path(out, 'accuracy.json'), {'facts': facts, 'mixers': results})
    _publish([_accuracy_table(results, seeds)], Path(out, 'accuracy.md'))
    title = f'Top-1 of {Path(config).stem} with each token mixer, {len(seeds)} seeds'
    _draw_accuracies(results, Path(out, 'accuracy.png'), title)
    return results


def _run(
    config: str, data: str, folder: Path, seed: int, options: dict[str, Any]
) -> dict[str, Any]:
    """Return the figures of one training, after training in a process of its own if need be."""
    result = folder / 'result.json'
    if not result.is_file():
        process = multiprocessing.get_context('spawn').Process(
            target=_train_by_command, args=(config, data, folder, seed, options)
        )
        process.start()
        process.join()
        if not result.is_file():
            raise InputError(f'{folder.name} failed, see above. The same command goes on there.')
    return json.loads(result.read_text())


def _train_by_command(
    config: str, data: str, folder: Path, seed: int, options: dict[str, Any]
) -> None:
    """Train and evaluate once and write ``result.json``; a user's mistake is one message."""
    cli(lambda: _train(config, data, folder, seed, options))


def _train(config: str, data: str, folder: Path, seed: int, options: dict[str, Any]) -> None:
    start = time.perf_counter()
    runner = train(
        config,
        data=data,
        work_dir=str(folder),
        seed=seed,
        resume='auto',
        channels_last=True,
        cfg_options=options,
    )
    seconds = time.perf_counter() - start
    metrics = evaluate(
        str(folder / Path(config).name),
        runner.message_hub.get_info('last_ckpt'),
        data=data,
        work_dir=str(folder / 'test'),
    )
    parameters = sum(p.numel() for p in runner.model.parameters())
    figures = dict(top1=metrics['accuracy/top1'], seconds=seconds, parameters=parameters)
    write_json(folder / 'result.json', figures)


def _spread(values: Sequence[float]) -> float:
    """Return the sample deviation; that of one value is unknown."""
    return statistics.stdev(values) if len(values) > 1 else math.nan


def _by_mean(results: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the results, the best mixer first."""
    return sorted(results.items(), key=lambda item: -statistics.fmean(item[1]['top1']))


def _accuracy_table(results: dict[str, dict[str, Any]], seeds: Sequence[int]) -> Table:
    table = Table(box=box.MARKDOWN)
    table.add_column('token mixer', no_wrap=True)
    for column in ('parameters', 'top-1', *(f'seed {seed}' for seed in seeds), 'minutes a run'):
        table.add_column(column, justify='right', no_wrap=True)
    for name, result in _by_mean(results):
        top1 = result['top1']
        spread = _spread(top1)
        table.add_row(
            _short(name),
            f'{result["parameters"]:,}',
            f'{np.mean(top1):.3f}' + ('' if math.isnan(spread) else f' ± {spread:.3f}'),
            *(f'{value:.3f}' for value in top1),
            f'{np.mean(result["seconds"]) / 60:.1f}',
        )
    return table


def _draw_accuracies(results: dict[str, dict[str, Any]], out: Path, title: str) -> None:
    """Draw a dot for each seed and a bar at the mean, the best mixer on top."""
    rows = _by_mean(results)
    figure = Figure(figsize=(8, 1.4 + 0.5 * len(rows)), dpi=110, layout='constrained')
    axis: Axes = figure.subplots()
    for row, (_, result) in enumerate(rows):
        axis.plot(result['top1'], [row] * len(result['top1']), 'o', color='#0072B2', alpha=0.7)
        axis.plot(np.mean(result['top1']), row, '|', color='black', markersize=20, mew=2)
    axis.set_yticks(range(len(rows)), [_short(name) for name, _ in rows])
    axis.invert_yaxis()
    axis.set(xlabel='top-1 (dots: seeds, bar: mean)', ylim=(len(rows) - 0.5, -0.5))
    axis.set_title(title, fontsize=11)
    axis.grid(alpha=0.3, axis='x')
    save_figure(figure, out)
