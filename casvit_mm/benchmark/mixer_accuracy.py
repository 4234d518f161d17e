"""What CAS-ViT reaches with each token mixer, trained by ``casvit-mm study-mixers --train``."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from casvit_mm.benchmark.cost import count_parameters
from casvit_mm.benchmark.mixer_costs import publish_tables, short_name
from casvit_mm.config.paths import config_name
from casvit_mm.engine import Randomness, Speed, Start, TrainOptions, evaluate, train
from casvit_mm.engine.subprocesses import run_once
from casvit_mm.errors import DivergedError
from casvit_mm.io import write_json
from casvit_mm.plotting.figures import save_figure

__all__ = ['compare_accuracies']


def compare_accuracies(
    names: Sequence[str],
    data: str,
    out: str | Path,
    *,
    config: str = 'casvit_mm::casvit_xs_short.py',
    seeds: Sequence[int] = (0, 1, 2),
    cfg_options: dict | None = None,
) -> dict[str, dict[str, Any]]:
    """Train CAS-ViT with each mixer in every stage; print and write what it reaches.

    Each run has a process of its own. Its last checkpoint is evaluated on the test split or, where
    there is none, on val. Finished runs are not repeated. A run whose model ends with predictions
    that are not numbers is reported as diverged. Writes ``accuracy.json``, ``accuracy.md`` and
    ``accuracy.png``.

    Args:
        names: Registered mixers.
        data: ``dataset.yaml`` of an image folder.
        out: Folder to write to; the runs go to ``runs`` in it.
        config: Recipe.
        seeds: One run for each.
        cfg_options: Config entries to set, by dotted name.

    Returns:
        By mixer ``parameters`` of the classifier, and ``top1`` and ``seconds``, lists over the
        seeds; ``top1`` is NaN where a run diverged.

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
    publish_tables([_accuracy_table(results, seeds)], Path(out, 'accuracy.md'))
    title = f'Top-1 of {Path(config_name(config)).stem} with each token mixer, {len(seeds)} seeds'
    _draw_accuracies(results, Path(out, 'accuracy.png'), title)
    return results


def _run(
    config: str, data: str, folder: Path, seed: int, options: dict[str, Any]
) -> dict[str, Any]:
    """Return the metrics of one training, after training in a process of its own if need be."""
    arguments = config, data, folder, seed, options
    metrics = run_once(folder / 'result.json', _train, *arguments)
    return {**metrics, 'top1': math.nan if metrics['top1'] is None else metrics['top1']}


def _train(config: str, data: str, folder: Path, seed: int, cfg_options: dict[str, Any]) -> None:
    """Train and evaluate once and write ``result.json``."""
    start = time.perf_counter()
    options = TrainOptions(
        data=data,
        work_dir=str(folder),
        start=Start(resume='auto'),
        speed=Speed(channels_last=True),
        randomness=Randomness(seed=seed),
        cfg_options=cfg_options,
    )
    runner = train(config, options)
    seconds = time.perf_counter() - start
    try:
        metrics = evaluate(
            str(folder / config_name(config)),
            runner.message_hub.get_info('last_ckpt'),
            data=data,
            work_dir=str(folder / 'test'),
        )
        top1 = metrics['accuracy/top1']
    except DivergedError as error:
        print(f'{folder.name}: {error}')
        top1 = math.nan
    parameters = count_parameters(runner.model)
    result = dict(top1=top1, seconds=seconds, parameters=parameters)
    write_json(folder / 'result.json', result)


def _converged(top1: Sequence[float]) -> list[float]:
    """Return the top-1 of the runs that converged."""
    return [value for value in top1 if not math.isnan(value)]


def _mean_and_spread(top1: Sequence[float]) -> str:
    """Return the mean of the runs that converged and their sample deviation; one run has none."""
    values = _converged(top1)
    if not values:
        return 'diverged'
    mean = f'{statistics.fmean(values):.3f}'
    return f'{mean} ± {statistics.stdev(values):.3f}' if len(values) > 1 else mean


def _by_mean(results: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the results, the best mixer first."""

    def mean(item: tuple[str, dict[str, Any]]) -> float:
        values = _converged(item[1]['top1'])
        return statistics.fmean(values) if values else 0

    return sorted(results.items(), key=mean, reverse=True)


def _accuracy_table(results: dict[str, dict[str, Any]], seeds: Sequence[int]) -> Table:
    table = Table(box=box.MARKDOWN)
    table.add_column('token mixer', no_wrap=True)
    for column in ('parameters', 'top-1', *(f'seed {seed}' for seed in seeds), 'minutes a run'):
        table.add_column(column, justify='right', no_wrap=True)
    for name, result in _by_mean(results):
        top1 = result['top1']
        table.add_row(
            short_name(name),
            f'{result["parameters"]:,}',
            _mean_and_spread(top1),
            *('diverged' if math.isnan(value) else f'{value:.3f}' for value in top1),
            f'{statistics.fmean(result["seconds"]) / 60:.1f}',
        )
    return table


def _draw_accuracies(results: dict[str, dict[str, Any]], out: Path, title: str) -> None:
    """Draw a dot for each seed and a bar at the mean, the best mixer on top."""
    rows = _by_mean(results)
    figure = Figure(figsize=(8, 1.4 + 0.5 * len(rows)), dpi=110, layout='constrained')
    axis = figure.subplots()
    for row, (_, result) in enumerate(rows):
        values = _converged(result['top1'])
        axis.plot(values, [row] * len(values), 'o', color='#0072B2', alpha=0.7)
        if values:
            axis.plot(statistics.fmean(values), row, '|', color='black', markersize=20, mew=2)
    axis.set_yticks(range(len(rows)), [short_name(name) for name, _ in rows])
    axis.invert_yaxis()
    axis.set(xlabel='top-1 (dots: seeds, bar: mean)', ylim=(len(rows) - 0.5, -0.5))
    axis.set_title(title, fontsize=11)
    axis.grid(alpha=0.3, axis='x')
    save_figure(figure, out)
