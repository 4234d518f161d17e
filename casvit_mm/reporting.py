"""Figures as tables for a person and as JSON for a program; files that are never half written."""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rich import box
from rich.console import Console
from rich.table import Table

from casvit_mm.errors import InputError

__all__ = [
    'KINDS',
    'check_writable',
    'print_classification_metrics',
    'print_errors',
    'print_metrics',
    'print_segmentation_metrics',
    'replacing',
    'run_all',
    'write_json',
]

_AP_COLUMNS = {'AP': '', 'AP50': '_50', 'AP75': '_75', 'APs': '_s', 'APm': '_m', 'APl': '_l'}
KINDS = {'bbox': 'box', 'segm': 'mask'}
_MANY_CLASSES = 100  # rows of a table that a reader still reads
_WORST_CLASSES = 20  # rows of what is shown instead


def print_metrics(metrics: dict[str, float], title: str = '') -> None:
    """Print detection figures: one table over all classes, then one per class for box and mask.

    Args:
        metrics: Figures named as :class:`casvit_mm.detection.CocoAP` names them.
        title: Line above the tables.
    """
    console = Console()
    suffixes = dict.fromkeys(
        match.group(1) or ''
        for name in metrics
        if (match := re.search(r'_mAP(_maxDets\d+)?$', name))
    )
    kinds = [kind for kind in KINDS if f'coco/{kind}_mAP' in metrics]

    if title:
        console.print(title, soft_wrap=True, highlight=False)
    overall = Table()
    for column in ('', 'maxDets', *_AP_COLUMNS, 'AR'):
        overall.add_column(column, justify='right')
    for kind in kinds:
        for suffix in suffixes:
            row = [metrics[f'coco/{kind}_mAP{part}{suffix}'] for part in _AP_COLUMNS.values()]
            row.append(metrics.get(f'coco/{kind}_AR@{_limit(suffix)}', math.nan))
            overall.add_row(KINDS[kind], _limit(suffix), *map(_figure, row))
    console.print(overall)
    for kind in kinds:
        console.print(_class_table(metrics, kind, list(suffixes)[-1]))


def _class_table(metrics: dict[str, float], kind: str, suffix: str) -> Table:
    """Return one row per class: objects in the ground truth, AP by IoU and size, and AR."""
    where = f', {_limit(suffix)} detections per image' if suffix else ''
    table = _plain_table(f'\n{KINDS[kind]}, per class{where}')
    table.add_column('class', overflow='fold')
    for column in ('objects', *_AP_COLUMNS, 'AR'):
        table.add_column(column, justify='right', no_wrap=True)
    start = f'coco/{kind}_AP/'
    for name in (key.removeprefix(start) for key in metrics if key.startswith(start)):
        keys = [f'coco/{kind}_AP{part}{suffix}/{name}' for part in _AP_COLUMNS.values()]
        keys.append(f'coco/{kind}_AR@{_limit(suffix)}/{name}')
        objects = metrics.get(f'coco/objects/{name}')
        table.add_row(
            name,
            '-' if objects is None else f'{objects:.0f}',
            *(_figure(metrics.get(key, math.nan)) for key in keys),
        )
    return table


def _plain_table(title: str) -> Table:
    return Table(
        title=title,
        title_justify='left',
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # names of 15 letters fit into 80 columns
        pad_edge=False,
        show_edge=False,
    )


def _limit(suffix: str) -> str:
    return suffix.removeprefix('_maxDets') or '100'


def _figure(value: float) -> str:
    return '-' if math.isnan(value) else f'{value:.3f}'


def print_segmentation_metrics(metrics: dict[str, float], title: str = '') -> None:
    """Print segmentation figures: the means, then one row per class.

    Args:
        metrics: Figures named as :class:`casvit_mm.segmentation.SegmentationIoU` names them, with
            those of each class.
        title: Line above the tables.
    """
    console = Console()
    if title:
        console.print(title, soft_wrap=True, highlight=False)
    means = ('mIoU', 'mAcc', 'aAcc')
    overall = Table(*means)
    overall.add_row(*(_figure(metrics[name]) for name in means))
    console.print(overall)
    table = _plain_table('\nper class')
    table.add_column('class', overflow='fold')
    for column in ('IoU', 'Acc', 'pixels'):
        table.add_column(column, justify='right', no_wrap=True)
    names = [key.removeprefix('pixels/') for key in metrics if key.startswith('pixels/')]
    total = sum(metrics[f'pixels/{name}'] for name in names)
    for name in names:
        figures = (_figure(metrics[f'{key}/{name}']) for key in ('IoU', 'Acc'))
        table.add_row(name, *figures, _percent(metrics[f'pixels/{name}'], total))
    console.print(table)


def print_classification_metrics(
    metrics: dict[str, float],
    title: str = '',
    taken_for: Mapping[str, tuple[str, float]] | None = None,
) -> None:
    """Print classification figures: the means, then one row per class.

    Of more than 100 classes the 20 with the lowest recall are shown.

    Args:
        metrics: Figures named as :class:`casvit_mm.classification.ClassificationAccuracy` names
            them, with those of each class.
        title: Line above the tables.
        taken_for: By class, the one that its images are most often taken for, and the share of its
            images that are.
    """
    console = Console()
    if title:
        console.print(title, soft_wrap=True, highlight=False)
    tops = [key for key in metrics if key.startswith('accuracy/top')]
    means = {key.replace('accuracy/top', 'top-'): metrics[key] for key in tops}
    means |= {f'mean {name}': metrics[name.lower()] for name in ('recall', 'precision', 'F1')}
    overall = Table(*means)
    overall.add_row(*map(_figure, means.values()))
    console.print(overall)
    names = [key.removeprefix('images/') for key in metrics if key.startswith('images/')]
    many = len(names) > _MANY_CLASSES
    if many:
        known = [name for name in names if metrics[f'images/{name}']]
        shown = sorted(known, key=lambda name: metrics[f'recall/{name}'])[:_WORST_CLASSES]
    console.print(_label_table(metrics, shown if many else names, taken_for or {}))
    if many:
        console.print(
            f'{len(shown)} of {len(names)} classes, those with the lowest recall; '
            '--out FILE writes them all',
            soft_wrap=True,
            highlight=False,
        )


def _label_table(
    metrics: dict[str, float], names: list[str], taken_for: Mapping[str, tuple[str, float]]
) -> Table:
    """Return one row per class: its images, how well they are found, what they are taken for."""
    table = _plain_table('\nper class')
    table.add_column('class', overflow='fold')
    for column in ('images', 'recall', 'precision', 'F1'):
        table.add_column(column, justify='right', no_wrap=True)
    if taken_for:
        table.add_column('most often taken for', overflow='fold')
    for name in names:
        figures = (_figure(metrics[f'{key}/{name}']) for key in ('recall', 'precision', 'f1'))
        row = [name, f'{metrics[f"images/{name}"]:.0f}', *figures]
        if name in taken_for:
            other, share = taken_for[name]
            row.append(f'{other} {share:.1%}')
        table.add_row(*row)
    return table


def _percent(part: float, total: float) -> str:
    """Return a share with one decimal; what is there is never shown as nothing."""
    if not part:
        return '-'
    return '<0.1%' if part / total < 0.001 else f'{part / total:.1%}'


def print_errors(summary: dict[str, Any]) -> None:
    """Print what :func:`casvit_mm.detection.analysis.summarise` found."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f'\nErrors of the boxes with score >= {summary["threshold"]:.3f}, where F1 is highest: '
        f'F1 {summary["f1"]:.3f}, precision {summary["precision"]:.3f}, '
        f'recall {summary["recall"]:.3f}'
    )
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column('error')
    table.add_column('number', justify='right')
    table.add_column('share', justify='right')
    table.add_column('meaning')
    total = sum(summary['errors'].values())
    for kind, count in sorted(summary['errors'].items(), key=lambda item: -item[1]):
        share = f'{100 * count / total:.0f}%' if total else '-'
        table.add_row(kind, str(count), share, summary['meaning'][kind])
    console.print(table)
    console.print('\n' + '\n'.join(summary['remarks']))


def check_writable(files: dict[str, str | None], folders: dict[str, str | None]) -> None:
    """Refuse places where results could not be written, before the work that makes them.

    Args:
        files: File to write by option name; its folder is made.
        folders: Folder to fill by option name; made.

    Raises:
        InputError: Naming the option, the place and the reason.
    """
    wanted = {option: (Path(path).parent, path) for option, path in files.items() if path}
    wanted |= {option: (Path(path), path) for option, path in folders.items() if path}
    for option, (folder, path) in wanted.items():
        if option in files and Path(path).is_dir():
            raise InputError(f'{option} {path} is a folder; name a file in it')
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise InputError(
                f'{option} {path} cannot be written: {folder}: {error.strerror}. Name another place'
            ) from error


@contextmanager
def replacing(
    path: str | Path,
    mode: str = 'w',
    cure: str = 'Make room or name another place.',
    part: str = '.part',
) -> Iterator[IO]:
    """Open a file that takes the place of ``path`` once it is whole, and not before.

    A reader sees the old file or the new one, never half of it; if writing fails, the old one
    stays as it was. The folder is made.

    Args:
        path: The file to write.
        mode: ``'w'`` or ``'wb'``.
        cure: What to do where it cannot be written.
        part: Ending of its name until it is whole. Processes that may write the same file at the
            same time need different ones.

    Raises:
        InputError: If the file cannot be written, e.g. because the disk is full.
    """
    path = Path(path)
    unfinished = path.with_name(path.name + part)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open(mode) as file:
                yield file
                # Network file systems report a full disk only here.
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        kept = 'The file of that name is as it was before. ' if path.exists() else ''
        raise InputError(f'cannot write {path}: {error.strerror}. {kept}{cure}') from error


def run_all(jobs: Sequence[Callable[[], object]]) -> None:
    """Run every job, also after one has failed, so that one full disk does not cost the rest.

    Raises:
        InputError: The messages of all that failed, after the last job.
    """
    messages = []
    for job in jobs:
        try:
            job()
        except InputError as error:
            messages.append(str(error))
    if messages:
        raise InputError('\n'.join(messages))


def write_json(path: str | Path, content: dict[str, Any]) -> None:
    """Write ``content`` in one step, as :func:`replacing` does.

    NaN, which JSON lacks, becomes null.

    Raises:
        InputError: If the file cannot be written.
    """
    with replacing(path) as file:
        file.write(json.dumps(_without_nan(content), indent=2) + '\n')


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
