"""What a prediction on files says at its end: counts, speed, where things are, what to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from casvit_mm.cli import job_command
from casvit_mm.deploy.engines import is_exported
from casvit_mm.errors import plain_name
from casvit_mm.plotting.tables import LiteralConsole
from casvit_mm.prediction.outputs import TaskOutput

__all__ = ['print_summary']


def print_summary(
    result: dict[str, Any], folder: Path, seconds: float, output: TaskOutput, lines: Sequence[str]
) -> None:
    """Print counts, speed, where the results are, what went wrong, and the next commands.

    Args:
        result: The content of ``predictions.json``.
        folder: Where it lies.
        seconds: How long it took.
        output: What the task says.
        lines: Further results.
    """
    frames = [frame for video in result['videos'] for frame in video['frames']]
    units = result['images'] + frames
    console = LiteralConsole()
    table = output.table(units)
    if table is not None:
        console.print(table)
    tracks = Counter(track['class'] for v in result['videos'] for track in v.get('tracks', ()))
    if result['track']:
        shown = Table('class', Column('different objects (tracks)', justify='right'))
        for name, number in tracks.most_common():
            shown.add_row(plain_name(name), str(number))
        console.print(shown)
    counts = [_count(len(result['images']), 'image')] if result['images'] or not frames else []
    if frames:
        counts.append(f'{_count(len(frames), "frame")} of {_count(len(result["videos"]), "video")}')
    said = [
        f'{output.headline(units)}{" and ".join(counts)}: {seconds:.1f} s, '
        f'{len(units) / seconds:.1f} img/s on {output.model.device}',
        f'results: {folder / "predictions.json"}',
        *lines,
    ]
    for kind, entries in (('picture', result['images']), ('video', result['videos'])):
        if any(kind in entry for entry in entries):
            said.append(f'{kind}s: {folder / kind}s/')
    said += _notes(result, output, units)
    said += _next_commands(result)
    console.print('\n'.join(said), soft_wrap=True)


def _notes(result: dict[str, Any], output: TaskOutput, units: Sequence[Any]) -> list[str]:
    """Return what the user should know."""
    model = output.model
    lines = [f'note: {model.note}'] if model.note else []
    if result['skipped_files']:
        lines.append(
            f'note: {_count(result["skipped_files"], "other file")} in the folders skipped'
        )
    if result['interrupted']:
        lines.append('note: stopped by Ctrl-C; the results hold what was done until then')
    for entry in result['videos']:
        if 'reconnected' in entry:
            times, went_by = _count(entry['reconnected'], 'time'), entry['lost_frames']
            lines.append(
                f'note: {entry["file"]} was connected again {times}; '
                f'about {_count(went_by, "frame")} went by'
            )
        if 'damaged_frames' in entry:
            number = _count(entry['damaged_frames'], 'damaged frame')
            lines.append(f'note: {number} of {entry["file"]} left out')
    if any(entry.get('video', '').endswith(('.mp4', '.avi')) for entry in result['videos']):
        lines.append(
            'note: browsers do not play the drawn videos, which OpenCV wrote as MPEG-4. '
            'For VP9: pip install av'
        )
    full = sum(len(unit.get('objects', ())) == model.max_dets for unit in units)
    if full and model.max_dets:
        lines.append(
            f'note: {_count(full, "picture")} reached the {model.max_dets} objects that '
            'the model keeps at most. Raise it: --max-dets N'
        )
    dim = [entry['file'] for entry in result['images'] if 'upper_bits_unused' in entry]
    if dim:
        lines.append(
            f'note: {_count(len(dim), "image")} (first {dim[0]}) leave the upper of 16 bits unused '
            'and are read nearly black, as in training. Stretch them to the full range, before '
            'training too.'
        )
    failed = result['unreadable']
    if failed:
        lines.append(f'\nerror: {_count(len(failed), "file")} not read, or not to the end:')
        lines += [f'  {entry["reason"]}' for entry in failed[:5]]
        lines += ['  ... see "unreadable" in predictions.json'] * (len(failed) > 5)
    return lines


def _next_commands(result: dict[str, Any]) -> list[str]:
    """Return commands that may come next, ready to copy."""
    model, config = result['checkpoint'], result['config']
    if is_exported(model):
        return []
    files = [config, model] if config else [model]
    test = job_command('test', *files, '--data', 'dataset.yaml', '--analysis', 'errors')
    return ['\nnext:', f'  {test}', f'  {job_command("export", *files, "--format", "onnx")}']


def _count(number: int, thing: str) -> str:
    return f'{number} {thing}{"" if number == 1 else "s"}'
