"""The results of a run as tables for a terminal, as Markdown, JSON and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from casvit_mm.benchmark.cases import Failure
from casvit_mm.benchmark.plots import draw_accuracy, draw_growth
from casvit_mm.io import replacing, write_json
from casvit_mm.plotting.tables import LiteralConsole

__all__ = ['brief_markdown', 'present']

_WIDTH = 160  # columns of a table that goes into a file or pipe
_MAX_NAMED = 4  # baselines that the notes list by name


@dataclass
class _TextTable:
    """A table before it is known where it goes.

    Attributes:
        title: Line above it.
        columns: Headings.
        rows: Of text.
        left: Number of columns that hold names.
    """

    title: str
    columns: Sequence[str]
    left: int
    rows: list[Sequence[str]] = field(default_factory=list)

    def for_terminal(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for number, name in enumerate(self.columns):
            if number < self.left:
                table.add_column(name, overflow='fold')
            else:
                table.add_column(name, justify='right', no_wrap=True)
        for row in self.rows:
            table.add_row(*row)
        return table

    def as_markdown(self) -> str:
        rule = ['---' if number < self.left else '---:' for number in range(len(self.columns))]
        lines = [f'| {" | ".join(row)} |' for row in (self.columns, rule, *self.rows)]
        return '\n'.join([f'**{self.title}**', '', *lines])


def present(result: dict[str, Any], out: Path | None) -> None:
    """Print a run, and write ``benchmark.json``, ``benchmark.md`` and pictures.

    Args:
        result: Of :func:`casvit_mm.benchmark.benchmark`.
        out: Folder to write into; None only prints.

    Raises:
        InputError: If something cannot be written.
    """
    tables, notes = list(_tables(result)), list(_notes(result))
    console = LiteralConsole()
    if not console.is_terminal:
        console.width = _WIDTH
    for table in tables:
        console.print(table.title, soft_wrap=True)
        console.print(table.for_terminal())
        console.print()
    console.print('\n'.join(notes), soft_wrap=True)
    if out is None:
        return
    write_json(out / 'benchmark.json', result)
    with replacing(out / 'benchmark.md') as file:
        file.write(_as_markdown(tables, notes) + '\n')
    written = ['benchmark.json', 'benchmark.md']
    if result['kind'] == 'growth':
        written.append(draw_growth(result['curves'], out / 'growth.png').name)
    elif result['kind'] == 'inference' and any(row['top1'] for row in result['rows']):
        written.append(draw_accuracy(result['rows'], out / 'accuracy.png', _machine(result)).name)
    console.print(f'{", ".join(written)} in {out}', soft_wrap=True)


def _as_markdown(tables: Iterable[_TextTable], notes: Sequence[str]) -> str:
    """Return tables, and notes as a list below them."""
    parts = [table.as_markdown() for table in tables]
    return '\n\n'.join([*parts, *(['\n'.join(f'- {line}' for line in notes)] if notes else [])])


def brief_markdown(result: dict[str, Any]) -> str:
    """Return the tables of a run, and the notes that are of it alone, as Markdown.

    Args:
        result: Of :func:`casvit_mm.benchmark.benchmark`.
    """
    return _as_markdown(_tables(result), list(_own_notes(result)))


def _tables(result: dict[str, Any]) -> Iterable[_TextTable]:
    if result['kind'] == 'growth':
        yield from map(_growth_table, result['curves'])
        return
    if result['kind'] == 'roofline':
        yield from map(_roofline_table, result['rooflines'])
        return
    yield _model_table(result['rows'])
    yield _time_table(result['kind'], result['rows'])
    if result['lead']:
        yield _lead_table(result['lead'])
    if result.get('parts'):
        yield _part_table(result['parts'])


def _model_table(rows: Sequence[dict[str, Any]]) -> _TextTable:
    table = _TextTable('Models', ['model', 'size', 'parameters', 'GMAC', 'top-1'], left=1)
    seen = {(row['model'], row['width'], row['height']): row for row in rows}
    for (model, width, height), row in seen.items():
        count = row['multiply_adds']
        table.rows.append(
            [
                model,
                f'{width}x{height}',
                '-' if row['parameters'] is None else f'{row["parameters"]:,}',
                '-' if count is None else _significant(count / 1e9),
                '-' if row['top1'] is None else f'{row["top1"]:.1f}',
            ]
        )
    return table


def _time_table(kind: str, rows: Sequence[dict[str, Any]]) -> _TextTable:
    columns = ['model', 'form', 'batch', 'size', 'ms', 'quartiles', 'p90', 'p99', 'images/s']
    title = f'Time of one {"call" if kind == "inference" else kind}'
    # Of a GPU alone: it has little, and tells it at once.
    memory = ['MiB'] * any('memory' in row for row in rows)
    table = _TextTable(title, [*columns, *memory, 'faster', 'quartiles'], left=2)
    for row in rows:
        ms, faster, taken = row['ms'], row['faster'], row.get('memory')
        table.rows.append(
            [
                row['model'],
                row['form'],
                str(row['batch']),
                f'{row["width"]}x{row["height"]}',
                _significant(ms['p50']),
                f'{_significant(ms["q1"])}-{_significant(ms["q3"])}',
                _significant(ms['p90']),
                _significant(ms['p99']),
                _significant(row['images_per_second']),
                *['-' if taken is None else _significant(taken / 2**20)] * len(memory),
                f'{faster["median"]:.2f}x',
                f'{faster["q1"]:.2f}-{faster["q3"]:.2f}',
            ]
        )
    return table


def _lead_table(leads: Sequence[dict[str, Any]]) -> _TextTable:
    columns = ['ours', 'form', 'batch', 'top-1', 'faster', 'quartiles', 'than', 'its top-1']
    table = _TextTable('Ahead of the fastest peer of equal or higher top-1', columns, left=2)
    for row in leads:
        faster = row['faster']
        table.rows.append(
            [
                row['model'],
                row['form'],
                str(row['batch']),
                f'{row["top1"]:.1f}',
                f'{faster["median"]:.2f}x',
                f'{faster["q1"]:.2f}-{faster["q3"]:.2f}',
                row['rival'],
                f'{row["rival_top1"]:.1f} at {row["rival_pixels"]} px',
            ]
        )
    return table


def _part_table(parts: Sequence[dict[str, Any]]) -> _TextTable:
    names = list(dict.fromkeys(name for row in parts for name in row['ms']))
    table = _TextTable('Where the time goes, ms', ['model', 'form', 'batch', *names, 'sum'], left=2)
    for row in parts:
        whole = sum(row['ms'].values())
        cells = [
            f'{_significant(row["ms"][name])} ({row["ms"][name] / whole:.0%})'
            if name in row['ms']
            else '-'
            for name in names
        ]
        table.rows.append(
            [row['model'], row['form'], str(row['batch']), *cells, _significant(whole)]
        )
    return table


def _growth_table(curve: dict[str, Any]) -> _TextTable:
    title = f'{curve["model"]} {curve["form"]}, batch {curve["batch"]}: from 512 px on, '
    title += f'time grows with pixels to the power of {curve["time_exponent"]:.2f}'
    if curve['bytes']:
        title += f', memory {curve["memory_exponent"]:.2f}'
    table = _TextTable(title, ['size', 'ms', 'quartiles', 'ns per pixel', 'memory MiB'], left=1)
    memory = curve['bytes'] or [None] * len(curve['ms'])
    for (height, width), ms, count in zip(curve['sizes'], curve['ms'], memory, strict=True):
        per_pixel = 1e6 * ms['p50'] / (height * width * curve['batch'])
        table.rows.append(
            [
                f'{width}x{height}',
                _significant(ms['p50']),
                f'{_significant(ms["q1"])}-{_significant(ms["q3"])}',
                _significant(per_pixel),
                '-' if count is None else _significant(count / 2**20),
            ]
        )
    return table


def _roofline_table(found: dict[str, Any]) -> _TextTable:
    height, width = found['size']
    title = f'{found["model"]} {found["form"]}, batch {found["batch"]}, {width}x{height}: '
    title += f'copies {found["bandwidth"] / 1e9:.0f} GB/s, '
    title += f'multiplies {found["peak"] / 1e9:.0f} GMAC/s'
    columns = ['piece', 'ms', 'share of time', 'MB at least', 'GMAC', 'of bandwidth', 'of peak']
    table = _TextTable(title, columns, left=1)
    for row in found['pieces'] + found['mixers']:
        table.rows.append(
            [
                row['name'],
                _significant(row['ms']),
                '-' if row in found['mixers'] else f'{row["share"]:.0%}',
                f'{row["bytes"] / 1e6:.1f}',
                f'{row["multiply_adds"] / 1e9:.3f}',
                f'{row["of_bandwidth"]:.0%}',
                f'{row["of_peak"]:.0%}',
            ]
        )
    return table


def _notes(result: dict[str, Any]) -> Iterable[str]:
    host, settings = result['host'], result['settings']
    yield f'{_machine(result)}; commit {host["commit"] or "unknown"}; {host["date"]}'
    yield ', '.join(
        f'{name} {host[name]}'
        for name in ('torch', 'timm', 'onnxruntime', 'openvino')
        if name in host
    )
    yield (
        f'Timed in turn: {settings["rounds"]} rounds in random order, {settings["calls"]} calls '
        'each; ms are medians of all calls.'
    )
    if 'rows' in result:
        than = list(dict.fromkeys(row['than'] for row in result['rows']))
        baseline = ', '.join(than) if len(than) <= _MAX_NAMED else 'the first form of each model'
        yield (
            'faster: median, over the rounds, of the ratio within the round to '
            f'{baseline}. Compare these: milliseconds change with what else runs here.'
        )
        yield 'GMAC: multiply-adds of convolutions and matrix products, per image.'
        if any('memory' in row for row in result['rows']):
            yield 'MiB: the most that a call takes beside weights and input.'
    yield from _own_notes(result)


def _own_notes(result: dict[str, Any]) -> Iterable[str]:
    """Yield what is not said of every run."""
    for failure in result.get('failures', []):
        yield str(Failure(**failure))
    host = result['host']
    if host['load'] is not None and host['load'] > 0.5 * host['cores']:
        yield (
            f'This machine was busy before the run: load {host["load"]} on {host["cores"]} cores. '
            'Run it again when it is quiet.'
        )
    yield from result.get('notes', [])


def _machine(result: dict[str, Any]) -> str:
    host = result['host']
    if 'gpu' in host:
        return f'{host["gpu"]}, CUDA {host["cuda"]}'
    return f'{host["cpu"]}, {host["cores"]} cores, {host["threads"]} thread(s)'


def _significant(value: float) -> str:
    """Return a number with three significant digits."""
    return f'{value:.0f}' if value >= 100 else f'{value:.3g}'
