"""The page of a report: aims, machine, steps, and what each step measured; JSON beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from casvit_mm.gpu_report.aims import Verdict, verdicts
from casvit_mm.gpu_report.pictures import draw_forms, draw_rooflines
from casvit_mm.gpu_report.plan import AIMED_INFERENCE, AIMED_TRAINING, STEPS
from casvit_mm.gpu_report.state import Record
from casvit_mm.io import replacing, write_json

__all__ = ['write_page']

_SMOKE = """> **Smoke run on a CPU.** Every step was shortened to see that it works: small images,
> few calls, no CUDA graphs, next to nothing compiled. No figure here means anything, aims
> included."""

_HOW = """## How to read the tables

The forms of a step were timed in one process, in turn, in random order, by CUDA events. **faster**
is the median, over the rounds, of the ratio within a round to the first form of that model and
batch: compare these; milliseconds change with clocks and with what else runs. GMAC are
multiply-adds per image. MiB is the most that a call takes beside weights and input. The limits in a
roofline were measured in that step."""


def write_page(
    out: Path,
    environment: dict[str, Any],
    records: dict[str, Record],
    results: dict[str, dict[str, Any]],
    skipped: dict[str, str],
) -> list[str]:
    """Write ``report.md``, ``report.json`` and the pictures, and return the lines that sum it up.

    Args:
        out: Folder of the report.
        environment: Of :func:`casvit_mm.gpu_report.environment.describe`.
        records: What has become of each step that was tried on this machine.
        results: Of the steps that are done.
        skipped: Why others were not run in this call.

    Raises:
        InputError: If a file cannot be written.
    """
    judged = verdicts(results)
    pictures = _draw(out, environment, results)
    parts = [
        f'# GPU report: {_machine(environment)}',
        *([_SMOKE] if environment['device'] == 'cpu' else []),
        _aims(judged),
        *(f'![{name}]({name})' for name in pictures),
        _environment(environment),
        _steps(records, skipped),
        *([_HOW] if results else []),
        *_sections(out, results, environment.get('commit')),
    ]
    with replacing(out / 'report.md') as file:
        file.write('\n\n'.join(parts) + '\n')
    write_json(
        out / 'report.json',
        dict(
            environment=environment,
            aims=[{**asdict(one), 'verdict': one.word} for one in judged],
            steps={name: asdict(record) for name, record in records.items()},
            skipped=skipped,
            results=results,
        ),
    )
    return [f'{one.word}: {one.aim}: {one.found}' for one in judged if one.met is not None]


def _draw(out: Path, environment: dict[str, Any], results: dict[str, dict[str, Any]]) -> list[str]:
    """Draw what there is, and return the names of the pictures."""
    drawn = []
    machine = _machine(environment)
    for kind, aim in (('inference', AIMED_INFERENCE), ('training step', AIMED_TRAINING)):
        names = [s.name for s in STEPS if s.name.startswith(('inference', 'train-'))]
        rows = [
            row
            for name in names
            for row in results.get(name, {}).get('rows', ())
            if results[name].get('kind') == kind
        ]
        if rows:
            file = out / f'{kind.replace(" ", "_")}.png'
            drawn.append(draw_forms(rows, aim, f'{kind} on {machine}', file).name)
    lines = [one for result in results.values() for one in result.get('rooflines', ())]
    if lines:
        drawn.append(
            draw_rooflines(lines, f'Stages and mixers on {machine}', out / 'roofline.png').name
        )
    return drawn


def _machine(environment: dict[str, Any]) -> str:
    if 'gpu' not in environment:
        return environment['cpu']
    number = f'{environment["gpus"]} x ' if environment['gpus'] > 1 else ''
    return f'{number}{environment["gpu"]}'


def _aims(judged: Sequence[Verdict]) -> str:
    rows = [(one.aim, one.found, f'**{one.word}**') for one in judged]
    return '## Aims\n\n' + _table(('aim', 'measured', ''), rows)


def _environment(environment: dict[str, Any]) -> str:
    rows = [
        (name, str(environment[key]))
        for name, key in (
            *(('GPU', 'gpu'), ('GPUs', 'gpus'), ('compute capability', 'capability')),
            *(('CUDA', 'cuda'), ('cuDNN', 'cudnn'), ('torch', 'torch'), ('timm', 'timm')),
            *(('onnxruntime', 'onnxruntime'), ('processor', 'cpu'), ('cores', 'cores')),
            *(('load before', 'load'), ('Python', 'python'), ('commit', 'commit')),
        )
        if environment.get(key) not in (None, 0)
    ]
    if environment['gpus'] and environment.get('tf32'):
        rows.append(('float32', 'convolutions in TF32, as is the default of torch'))
    if 'gpu_memory' in environment:
        rows.insert(1, ('memory', f'{environment["gpu_memory"] / 2**30:.1f} GiB'))
    for number, gpu in enumerate(environment['nvidia_smi']):
        told = ', '.join(f'{name} {value}' for name, value in gpu.items())
        rows.append((f'nvidia-smi, GPU {number}', told))
    if environment['absent']:
        rows.append(('not installed', ', '.join(environment['absent'])))
    lines = ['## Machine', '', _table(('', ''), rows)]
    commit = environment.get('commit')
    if commit is None:
        lines += ['', 'The commit is not known: this code does not lie in a repository.']
    elif commit.endswith('-dirty'):
        lines += ['', f'**The tree was dirty**: {commit} is not all of the code that ran.']
    if environment['others']:
        told = '; '.join(environment['others'])
        lines += ['', f'**Others computed on the GPU** when this call began: {told}.']
    return '\n'.join(lines)


def _steps(records: dict[str, Record], skipped: dict[str, str]) -> str:
    rows = []
    for step in STEPS:
        record = records.get(step.name)
        if record is None:
            status, minutes = 'not run', '-'
            said = skipped.get(step.name, 'not asked for, or not reached yet')
        else:
            status, minutes = record.status, f'{record.seconds / 60:.1f}'
            said = skipped.get(step.name, record.reason)
        rows.append((f'`{step.name}`', step.tells, status, minutes, said, _clocks(record)))
    columns = ('step', 'tells', 'status', 'min', 'why not', 'GPU meanwhile')
    return '## Steps\n\n' + _table(columns, rows)


def _clocks(record: Record | None) -> str:
    if record is None or not record.gpu:
        return '-'
    seen = record.gpu
    text = f'{seen["sm_mhz"]:.0f} MHz, {seen["watts"]:.0f} W, {seen["celsius"]:.0f} °C'
    return text + (f'; slowed down by {", ".join(seen["throttled"])}' if seen['throttled'] else '')


def _sections(out: Path, results: dict[str, dict[str, Any]], commit: str | None) -> Iterator[str]:
    for step in STEPS:
        result = results.get(step.name)
        if result is None:
            continue
        lines = [f'## {step.name}: {step.tells}']
        own = result.get('host', {}).get('commit', commit)
        if own != commit:
            lines.append(f'**The code changed during the run:** this is of {own}, not of {commit}.')
        commands = result.get('commands', [result['command']] if 'command' in result else [])
        if commands:
            lines.append('```bash\n' + '\n'.join(commands) + '\n```')
        lines += result.get('said', [])
        lines.append(_TABLES[result['kind']](result) if 'table' not in result else result['table'])
        if (out / 'steps' / step.name / 'accuracy.png').is_file() and step.name.startswith('peers'):
            lines.append(f'![accuracy over latency](steps/{step.name}/accuracy.png)')
        yield '\n\n'.join(line.strip() for line in lines)


def _limits(result: dict[str, Any]) -> str:
    rows = [
        (
            row['precision'],
            f'{row["bandwidth"] / 1e9:.0f}',
            f'{row["multiply_adds"] / 1e12:.2f}',
            f'{2 * row["multiply_adds"] / 1e12:.1f}',
        )
        for row in result['rows']
    ]
    return _table(('matrices in', 'copies, GB/s', 'T multiply-adds/s', 'TFLOP/s'), rows)


def _tests(result: dict[str, Any]) -> str:
    tests = result['tests']
    counts = {word: 0 for word in ('passed', 'failed', 'skipped')}
    for test in tests:
        counts[test['outcome']] += 1
    told = ', '.join(f'{number} {word}' for word, number in counts.items())
    others = [one for one in tests if one['outcome'] != 'passed']
    rows = [(f'`{one["name"]}`', one['outcome'], one['reason']) for one in others]
    return told + '.' + (f'\n\n{_table(("test", "", "why"), rows)}' if rows else '')


def _loader(result: dict[str, Any]) -> str:
    rows = []
    for row in result['rows']:
        read, train = (row[key]['images_per_second'] for key in ('loader', 'model'))
        limit = 'data loader' if read < train else 'model'
        rows.append((str(row['workers']), f'{read:.1f}', f'{train:.1f}', limit))
    return _table(('workers', 'read, images/s', 'trained, images/s', 'the limit is the'), rows)


def _processes(result: dict[str, Any]) -> str:
    first = result['rows'][0]['model']['images_per_second']
    rows = [
        (
            str(row['processes']),
            f'{row["model"]["images_per_second"]:.1f}',
            f'{row["model"]["images_per_second"] / first:.2f}',
        )
        for row in result['rows']
    ]
    return _table(('processes', 'trained, images/s', 'times one process'), rows)


def _figures(result: dict[str, Any]) -> str:
    rows = [
        (
            row['metric'],
            '-' if row['measured'] is None else f'{row["measured"]:.3f}',
            f'{row["published"]:.3f}',
        )
        for row in result['rows']
    ]
    return f'On {result["split"]} images.\n\n' + _table(
        ('metric', 'measured with --amp', 'results page, float32'), rows
    )


_TABLES: dict[str, Callable[[dict[str, Any]], str]] = dict(
    limits=_limits, tests=_tests, loader=_loader, processes=_processes, figures=_figures
)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; what would end a cell is shown as it is."""
    lines = [columns, ['---'] * len(columns)]
    lines += [[cell.replace('|', r'\|').replace('\n', ' ') for cell in row] for row in rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
