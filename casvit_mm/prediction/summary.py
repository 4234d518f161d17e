"""What a prediction on files says at its end: counts, speed, where things are, what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from casvit_mm.cli import job_command
from casvit_mm.console import speed
from casvit_mm.deploy.engines import is_exported
from casvit_mm.errors import plain_name
from casvit_mm.plotting.tables import LiteralConsole
from casvit_mm.prediction.outputs import TaskOutput
from casvit_mm.prediction.totals import Totals

__all__ = ['Run', 'print_summary']


@dataclass(frozen=True)
class Run:
    """What was done.

    Attributes:
        fields: Those of ``predictions.json`` that are neither images nor videos.
        totals: Counts over all images and frames.
        unreadable: What could not be read, with the reason.
        seconds: How long it took.
        units: Images and frames of this time, without those of a run before.
    """

    fields: dict[str, Any]
    totals: Totals
    unreadable: Sequence[dict[str, str]]
    seconds: float
    units: int


def print_summary(run: Run, path: Path, output: TaskOutput, lines: Sequence[str]) -> None:
    """Print counts, speed, where the results are, what went wrong, and the next commands.

    Args:
        run: What was done.
        path: ``predictions.json``.
        output: What the task says.
        lines: Further results.
    """
    totals = run.totals
    console = LiteralConsole()
    table = output.table(totals.counts)
    if table is not None:
        console.print(table)
    if run.fields['track']:
        shown = Table('class', Column('different objects (tracks)', justify='right'))
        for name, number in totals.tracks.most_common():
            shown.add_row(plain_name(name), str(number))
        console.print(shown)
    counts = [_count(totals.images, 'image')] if totals.images or not totals.frames else []
    if totals.frames:
        counts.append(f'{_count(totals.frames, "frame")} of {_count(len(totals.videos), "video")}')
    before = totals.units - run.units
    said = [
        f'{output.headline(totals.counts)}{" and ".join(counts)}: {run.seconds:.1f} s, '
        f'{speed(run.units, run.seconds)} on {output.model.device}'
        + (f', and {before} done by a run before' if before else ''),
        f'results: {path}',
        *lines,
    ]
    if totals.drawn:
        said.append(f'pictures: {path.parent / "pictures"}/')
    if any('video' in video for video in totals.videos):
        said.append(f'videos: {path.parent / "videos"}/')
    said += _notes(run, output)
    said += _next_commands(run.fields)
    console.print('\n'.join(said), soft_wrap=True)


def _notes(run: Run, output: TaskOutput) -> list[str]:
    """Return what the user should know."""
    model, fields, totals = output.model, run.fields, run.totals
    lines = [f'note: {model.note}'] if model.note else []
    if fields['skipped_files']:
        lines.append(
            f'note: {_count(fields["skipped_files"], "other file")} in the folders skipped'
        )
    if fields['interrupted']:
        lines.append(
            'note: stopped by Ctrl-C; the results hold what was done until then. The same command '
            'goes on.'
        )
    lines += _notes_on_videos(totals.videos)
    if totals.full:
        lines.append(
            f'note: {_count(totals.full, "picture")} reached the {model.max_dets} objects that '
            'the model keeps at most. Raise it: --max-dets N'
        )
    if totals.dim:
        lines.append(
            f'note: {_count(totals.dim, "image")} (first {totals.first_dim}) leave the upper of '
            '16 bits unused and are read nearly black, as in training. Stretch them to the full '
            'range, before training too.'
        )
    failed = run.unreadable
    if failed:
        lines.append(f'\nerror: {_count(len(failed), "file")} not read, or not to the end:')
        lines += [f'  {entry["reason"]}' for entry in failed[:5]]
        lines += ['  ... see "unreadable" in predictions.json'] * (len(failed) > 5)
    return lines


def _notes_on_videos(videos: Sequence[dict[str, Any]]) -> list[str]:
    lines = []
    for entry in videos:
        if 'reconnected' in entry:
            times, went_by = _count(entry['reconnected'], 'time'), entry['lost_frames']
            lines.append(
                f'note: {entry["file"]} was connected again {times}; '
                f'about {_count(went_by, "frame")} went by'
            )
        if 'damaged_frames' in entry:
            number = _count(entry['damaged_frames'], 'damaged frame')
            lines.append(f'note: {number} of {entry["file"]} left out')
    if any(entry.get('video', '').endswith(('.mp4', '.avi')) for entry in videos):
        lines.append(
            'note: browsers do not play the drawn videos, which OpenCV wrote as MPEG-4. '
            'For VP9: pip install av'
        )
    return lines


def _next_commands(result: dict[str, Any]) -> list[str]:
    """Return commands that may come next, ready to copy."""
    model, config = result['checkpoint'], result['config']
    if is_exported(model):
        return []
    files = [config, model] if config else [model]
    export = job_command('export', *files, '--format', 'onnx')
    return ['\nnext:', f'  {job_command("serve", *files)}', f'  {export}']


def _count(number: int, thing: str) -> str:
    return f'{number} {thing}{"" if number == 1 else "s"}'
