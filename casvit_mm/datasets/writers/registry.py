"""The formats that are written, and how a whole set is: all of it, or nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from casvit_mm.datasets.writers import FORMATS, coco, cvat, label_studio, labelme, voc, yolo
from casvit_mm.datasets.writers.base import ImageLabels, LabelledSet, Writer
from casvit_mm.errors import InputError

__all__ = ['WRITERS', 'check_free', 'find_writer', 'write_set']

_MODULES = (coco, yolo, voc, labelme, cvat, label_studio)
WRITERS: dict[str, Writer] = {
    name: module.WRITER for name, module in zip(FORMATS, _MODULES, strict=True)
}


def find_writer(name: str, task: str) -> Writer:
    """Return the writer of a format.

    Raises:
        InputError: If there is none, or it does not hold what the task says.
    """
    if name not in WRITERS:
        raise InputError(f'there is no format {name!r} to write; known are {", ".join(WRITERS)}')
    if task == 'classification' and not (WRITERS[name].classifies or name == 'yolo'):
        able = [n for n, writer in WRITERS.items() if writer.classifies or n == 'yolo']
        raise InputError(
            f'{WRITERS[name].name} says where objects are, and nothing of the class of an image; '
            f'take one of {", ".join(able)}'
        )
    return WRITERS[name]


def check_free(out: Path) -> None:
    """Refuse a folder that is there already.

    Raises:
        InputError: If it is, or what it would lie in cannot be written.
    """
    if os.path.lexists(out):
        raise InputError(f'{out} exists; name another folder, or take it away')
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out.parent).close()
    except OSError as error:
        raise InputError(f'{out} cannot be written: {error}. Name another place') from error


def write_set(labelled: LabelledSet, to: str, out: str | Path, link: bool = False) -> Path:
    """Write images and what is said of them.

    The folder has its name once all is in it, and not before. What the format does not hold is
    counted in ``labelled.lost``.

    Args:
        labelled: What to write; changed where the format does not hold it.
        to: One of :data:`WRITERS`.
        out: Folder to make.
        link: Whether images are links to the files, and not copies.

    Returns:
        What ``--data`` reads.

    Raises:
        InputError: If the format cannot hold the task, the folder exists, or cannot be written.
    """
    writer = find_writer(to, labelled.task)
    out = Path(out)
    check_free(out)
    data: str | None
    part = Path(tempfile.mkdtemp(prefix=f'.{out.name}.', dir=out.parent))
    try:
        part.chmod(0o755)
        if to != 'label-studio':
            scores = [score for image in labelled.images() for _, score in image.classes[:1]]
            labelled.lost['scores of classes'] += sum(score is not None for score in scores)
        if to == 'yolo' and labelled.task == 'classification':
            data = _write_class_folders(labelled, part, link)
        else:
            _name_images(labelled, writer)
            writer.keep_held(labelled)
            for split, images in labelled.splits.items():
                folder = part / writer.image_folder.format(split=split)
                for image in images:
                    _place(image.file, folder / image.name, link)
            data = writer.write(labelled, part)
        part.rename(out)
    except OSError as error:
        raise InputError(f'{out} cannot be written: {error}. Make room or name another') from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    labelled.lost = +labelled.lost
    return out if data is None else out / data


def _write_class_folders(labelled: LabelledSet, folder: Path, link: bool) -> str:
    """Write classified images as Ultralytics and we read them: a folder for each class."""
    for split, images in labelled.splits.items():
        for category in labelled.categories:
            (folder / split / category['name']).mkdir(parents=True)
        for image in images:
            image.name = f'{image.classes[0][0]}/{_base(image)}'
        _make_unique(images, labelled, one_stem=False)
        for image in images:
            _place(image.file, folder / split / image.name, link)
    text = ''.join(f'{split}: {{images: {split}}}\n' for split in labelled.splits)
    (folder / 'dataset.yaml').write_text(text)
    return 'dataset.yaml'


def _name_images(labelled: LabelledSet, writer: Writer) -> None:
    """Give every image a name of its own in the folder that it will lie in."""
    for split, images in labelled.splits.items():
        for image in images:
            parts = Path(image.name).parts
            if Path(image.name).is_absolute() or '..' in parts:
                image.name = _base(image)
            if writer.flat:
                image.name = image.name.replace('/', '_')
            if writer.subfolders and len(labelled.splits) > 1:
                image.name = f'{split}/{image.name}'
        if not writer.flat:
            _make_unique(images, labelled, writer.one_stem)
    if writer.flat:
        _make_unique(list(labelled.images()), labelled, writer.one_stem)


def _base(image: ImageLabels) -> str:
    return Path(image.name).name


def _make_unique(images: Sequence[ImageLabels], labelled: LabelledSet, one_stem: bool) -> None:
    """Rename images whose name, or the name without suffix, another one has."""
    taken: set[str] = set()
    for image in images:
        path = Path(image.name)
        number = 1
        while (key := str(path.with_suffix('') if one_stem else path).casefold()) in taken:
            number += 1
            first = Path(image.name)
            path = first.with_name(f'{first.stem}_{number}{first.suffix}')
        taken.add(key)
        if number > 1:
            labelled.lost['names of images that another image has: a number follows them'] += 1
            image.name = path.as_posix()


def _place(file: Path, target: Path, link: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        target.symlink_to(file.resolve())
    else:
        shutil.copyfile(file, target)
