"""Datasets in other formats, as ``casvit-mm convert-data`` writes them."""

from __future__ import annotations

import copy
from collections import Counter
from importlib import import_module
from pathlib import Path

from casvit_mm.console import StatusLine
from casvit_mm.datasets.description import described_task
from casvit_mm.datasets.writers.base import LabelledSet
from casvit_mm.datasets.writers.comparison import compare_sets
from casvit_mm.datasets.writers.registry import check_free, find_writer, write_set
from casvit_mm.errors import InputError, plain_name

__all__ = ['convert_data']


def convert_data(
    data: str | Path, to: str, out: str | Path, link: bool = False, verify: bool = False
) -> Path:
    """Write a dataset of any task in another format, and print what that format does not hold.

    Args:
        data: What ``--data`` takes: a ``dataset.yaml``, or what another tool has written.
        to: Format, one of :data:`casvit_mm.datasets.writers.registry.WRITERS`.
        out: Folder to make; it has its name once all is in it.
        link: Whether images are links to the files, and not copies.
        verify: Whether what was written is read again, and the differences are printed.

    Returns:
        What ``--data`` reads of it.

    Raises:
        InputError: If the data cannot be read as a whole, the format does not hold its task, or
            ``out`` exists or cannot be written.
    """
    task = described_task(data)
    if task is None:
        raise InputError(f'{data} names no source under train: or data:')
    find_writer(to, task)
    check_free(Path(out))
    read = import_module(f'casvit_mm.{task}.data.convert').labelled_set
    with StatusLine(f'{data}: reading') as line:
        labelled, notes = read(data)
        # Writing takes out what is not held.
        before = copy.deepcopy(labelled) if verify else labelled
        line.show(f'{out}: writing')
        written = write_set(labelled, to, out, link)
    print(*notes, sep='\n', end='\n' * bool(notes))
    print(describe_written(labelled, find_writer(to, task).name, written))
    if verify:
        print(*_verify(before, labelled, written, Path(out)), sep='\n')
    return written


def _verify(before: LabelledSet, labelled: LabelledSet, written: Path, out: Path) -> list[str]:
    """Read what was written, and say by how much it differs from the source."""
    task = described_task(written)
    again, _ = import_module(f'casvit_mm.{task}.data.convert').labelled_set(written)
    for old, new in zip(before.images(), labelled.images(), strict=True):
        old.name = new.name
    if labelled.task != 'classification':
        return compare_sets(before, again, out).lines()
    one, other = (
        Counter((Path(image.name).name, image.classes[0][0]) for image in labelled.images())
        for labelled in (before, again)
    )
    return [f'read again: {(one & other).total()} of {one.total()} images with their classes']


def describe_written(labelled: LabelledSet, name: str, written: Path) -> str:
    """Return what was written, and what was not.

    Args:
        labelled: What was written.
        name: Of the format.
        written: What ``--data`` reads.
    """
    lines = [f'{name}: {written}']
    for split, images in labelled.splits.items():
        objects = sum(len(image.objects) for image in images)
        counted = '' if labelled.task == 'classification' else f', {objects} objects'
        lines.append(f'  {split}: {len(images)} images{counted}')
    lines.append(f'  classes: {", ".join(plain_name(str(n), 40) for n in labelled.names.values())}')
    if not labelled.lost:
        return '\n'.join([*lines, '  nothing is lost'])
    lines.append(f'  not held by {name}:')
    return '\n'.join(lines + [f'    {number} {what}' for what, number in labelled.lost.items()])
