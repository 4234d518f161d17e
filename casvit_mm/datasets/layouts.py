"""Whether COCO, ADE20K and ImageNet lie where the configs look for them, and what to do if not.

Compares with the official archives, names what is missing and the command that puts it there.
Nothing is downloaded or changed. ``casvit-mm check-data --layout coco`` prints it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from casvit_mm.errors import InputError

__all__ = [
    'LAYOUTS',
    'Archive',
    'Layout',
    'Part',
    'check_layout',
    'describe_missing',
    'print_layout',
]

_EXTENSIONS = ('.jpg', '.jpeg', '.png')
_DEPTH = 3  # folders below the root in which misplaced parts are looked for
_MANY = 100  # a folder with more entries holds data, not folders that someone made
_UNZIP = 'unzip -q {archive} -d {root}'
_CLASSES = 1000  # of ImageNet


@dataclass(frozen=True)
class Archive:
    """A file as it is downloaded.

    Attributes:
        name: File name.
        url: Where it is; a page where one must sign in first.
        unpack: Shell command with the fields ``archive``, ``root`` and ``parent``, quoted paths.
    """

    name: str
    url: str
    unpack: str = _UNZIP


@dataclass(frozen=True)
class Part:
    """A file or folder of a dataset.

    Attributes:
        path: Place below the root.
        archive: What brings it.
        files: Images in it by the official count; None for a single file.
        in_classes: Whether the images lie in one folder per class.
    """

    path: str
    archive: Archive
    files: int | None = None
    in_classes: bool = False


@dataclass(frozen=True)
class Layout:
    """A dataset as the configs read it.

    Attributes:
        root: Where the configs look for it.
        page: Official page.
        parts: All that training and evaluation need.
    """

    root: str
    page: str
    parts: tuple[Part, ...]


_COCO_URL = 'http://images.cocodataset.org'
_COCO_JSON = Archive(
    'annotations_trainval2017.zip', f'{_COCO_URL}/annotations/annotations_trainval2017.zip'
)
_ADE = Archive(
    'ADEChallengeData2016.zip',
    'http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip',
    'unzip -q {archive} -d {parent}',  # it holds a folder of its own name
)
_IMAGENET_PAGE = 'https://www.image-net.org/download.php'
_CLASS_TARS = (
    'for f in {root}/train/n*.tar; do mkdir -p "${{f%.tar}}" && '
    'tar -xf "$f" -C "${{f%.tar}}" && rm "$f"; done'
)
_IMAGENET_TRAIN = Archive(
    'ILSVRC2012_img_train.tar',
    _IMAGENET_PAGE,
    f'mkdir -p {{root}}/train && tar -xf {{archive}} -C {{root}}/train && {_CLASS_TARS}',
)
_IMAGENET_VAL = Archive(
    'ILSVRC2012_img_val.tar',
    _IMAGENET_PAGE,
    'mkdir -p {root}/val && tar -xf {archive} -C {root}/val',
)
_IMAGENET_META = Archive(
    'caffe_ilsvrc12.tar.gz',
    'http://dl.caffe.berkeleyvision.org/caffe_ilsvrc12.tar.gz',
    'mkdir -p {root}/meta && tar -xzf {archive} -C {root}/meta',
)

LAYOUTS = {
    'coco': Layout(
        'data/coco',
        'https://cocodataset.org/#download',
        (
            Part('annotations/instances_train2017.json', _COCO_JSON),
            Part('annotations/instances_val2017.json', _COCO_JSON),
            Part('train2017', Archive('train2017.zip', f'{_COCO_URL}/zips/train2017.zip'), 118_287),
            Part('val2017', Archive('val2017.zip', f'{_COCO_URL}/zips/val2017.zip'), 5_000),
        ),
    ),
    'ade20k': Layout(
        'data/ade/ADEChallengeData2016',
        'http://sceneparsing.csail.mit.edu',
        (
            Part('images/training', _ADE, 20_210),
            Part('images/validation', _ADE, 2_000),
            Part('annotations/training', _ADE, 20_210),
            Part('annotations/validation', _ADE, 2_000),
        ),
    ),
    'imagenet': Layout(
        'data/imagenet',
        _IMAGENET_PAGE,
        (
            Part('train', _IMAGENET_TRAIN, 1_281_167, in_classes=True),
            Part('val', _IMAGENET_VAL, 50_000, in_classes=True),
        ),
    ),
}


def describe_missing(name: str, root: str | Path) -> str:
    """Return what a dataset lacks under ``root``, as lines of a message."""
    issues = ''.join(f'- {issue}\n' for issue in check_layout(name, root))
    return f'{name.upper()} ({LAYOUTS[name].page}) is not complete there:\n{issues}'


def check_layout(name: str, root: str | Path | None = None) -> list[str]:
    """Compare a folder with a dataset's official archives.

    Args:
        name: ``'coco'``, ``'ade20k'`` (ADEChallengeData2016) or ``'imagenet'`` (ILSVRC2012).
        root: The folder; where the configs look for the data if None.

    Returns:
        What is wrong, each with what to do; nothing if all is there.

    Raises:
        InputError: If ``name`` is unknown, or ``root`` is a file.
    """
    if name not in LAYOUTS:
        raise InputError(f'unknown layout {name!r}, expected one of {sorted(LAYOUTS)}')
    layout = LAYOUTS[name]
    root = Path(root or layout.root)
    if root.is_file():
        raise InputError(f'{root} is a file; name the folder of {name}')
    if name == 'ade20k' and (sign := _sign_of_full_ade(root)):
        return [
            f'{sign} belongs to the full ADE20K, whose labels are others. Training needs the scene '
            f'parsing challenge with 150 classes: {_ADE.name}. {_get(_ADE, root)}'
        ]

    issues = []
    missing = []
    for part in layout.parts:
        path = root / part.path
        if not (path.is_file() if part.files is None else path.is_dir()):
            missing.append(part)
        elif part.files is not None:
            issues += _check_folder(part, root)
    if missing and (found := _find_elsewhere(layout, root)):
        issues.insert(0, _misplaced(found, layout, root, name))
        missing = [part for part in missing if not (found / part.path).exists()]
    for archive in dict.fromkeys(part.archive for part in missing):
        paths = ', '.join(part.path for part in missing if part.archive is archive)
        issues.append(f'{paths}: missing in {root}. {_get(archive, root)}')
    return issues


def _get(archive: Archive, root: Path) -> str:
    """Return where an archive comes from, unless it lies there already, and how to unpack it."""
    places = (folder / archive.name for folder in (root, root.parent, Path()))
    lying = next((path for path in places if path.is_file()), None)
    command = archive.unpack.format(
        archive=_quoted(lying or Path(archive.name)),
        root=_quoted(root),
        parent=_quoted(root.parent),
    )
    if archive is _ADE and root.name != Path(LAYOUTS['ade20k'].root).name:
        command += f' && mv {_quoted(root.parent)}/ADEChallengeData2016/* {_quoted(root)}/'
    if lying:
        return f'{lying} is there but still packed; unpack it:\n  {command}'
    return f'Get {archive.name} ({archive.url}), then:\n  {command}'


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _find_elsewhere(layout: Layout, root: Path) -> Path | None:
    """Return a folder below ``root``, or the one above it, that holds the dataset."""
    for folder in _folders_below(root, _DEPTH):
        if any((folder / part.path).exists() for part in layout.parts):
            return folder
    above = all((root.parent / part.path).exists() for part in layout.parts)
    return root.parent if above else None


def _folders_below(root: Path, depth: int) -> Iterator[Path]:
    """Yield the folders that may hold a dataset, nearest first; folders full of data do not."""
    level = [root]
    for _ in range(depth):
        below = []
        for folder in level:
            entries = []
            if folder.is_dir():
                with os.scandir(folder) as listing:
                    for entry in listing:
                        entries.append(entry)
                        if len(entries) > _MANY:
                            break
            if len(entries) <= _MANY:
                below += sorted(Path(e.path) for e in entries if e.is_dir())
        yield from below
        level = below


def _misplaced(found: Path, layout: Layout, root: Path, name: str) -> str:
    """Return what to do about a dataset that lies above or below where it is looked for."""
    if found == root.parent:
        top = dict.fromkeys(Path(part.path).parts[0] for part in layout.parts)
        said = f'{name} lies in {found}, one level above {root}. Name {found}'
        if root.name in top:
            return said
        paths = ' '.join(_quoted(found / folder) for folder in top)
        return f'{said}, or move it:\n  mkdir -p {_quoted(root)} && mv {paths} {_quoted(root)}/'
    levels = len(found.relative_to(root).parts)
    deep = 'one level' if levels == 1 else f'{levels} levels'
    return (
        f'{name} lies in {found}, {deep} below {root}. Name {found}, or move it:\n'
        f'  mv {_quoted(found)}/* {_quoted(root)}/'
    )


def _sign_of_full_ade(root: Path) -> Path | None:
    """Return a path that only the full ADE20K has."""
    signs = [
        *(root / index for index in ('index_ade20k.pkl', 'index_ade20k.mat')),
        *(root / folder for folder in ('images/ADE', 'images/training/a')),
    ]
    signs += [root] if root.name.startswith('ADE20K_20') else sorted(root.glob('ADE20K_20*'))
    return next((sign for sign in signs if sign.exists()), None)


def _check_folder(part: Part, root: Path) -> list[str]:
    folder = root / part.path
    inner = folder / folder.name
    if inner.is_dir():
        aside = _quoted(folder.with_name(f'{folder.name}.tmp'))
        return [
            f'{part.path}: the images lie one level too deep, in {inner}. Move them up:\n'
            f'  mv {_quoted(inner)} {aside} && rmdir {_quoted(folder)} && mv {aside} '
            f'{_quoted(folder)}'
        ]
    files, folders = _count(folder)
    if part.in_classes:
        if issue := _check_classes(part, root, len(folders), files):
            return [issue]
        files += sum(_count(path)[0] for path in folders)
    assert part.files is not None
    if files == part.files:
        return []
    found = f'{part.path}: {files:,} images in {folder}, officially {part.files:,}'
    if files > part.files:
        return [f'{found}. Remove what does not belong there.']
    return [f'{found}. Unless it is a subset on purpose, unpack again. {_get(part.archive, root)}']


def _count(folder: Path) -> tuple[int, list[Path]]:
    """Return the number of images in a folder, and the folders in it."""
    files = 0
    folders = []
    with os.scandir(folder) as listing:
        for entry in listing:
            # Names alone: asking for every file's kind is slow on network disks.
            if entry.name.lower().endswith(_EXTENSIONS):
                files += 1
            elif entry.is_dir():
                folders.append(Path(entry.path))
    return files, folders


def _check_classes(part: Part, root: Path, folders: int, flat: int) -> str | None:
    """Return what keeps mmpretrain's ImageNet from telling the classes of one split.

    It reads ``meta/<split>.txt`` where that exists, else one folder per class.
    """
    folder = root / part.path
    listing = root / 'meta' / f'{part.path}.txt'
    if packed := len(list(folder.glob('n*.tar'))):
        command = _CLASS_TARS.format(root=_quoted(root))
        return f'{part.path}: {packed:,} class archives are still packed. Unpack them:\n  {command}'
    if listing.is_file():
        with listing.open() as lines:
            first = lines.readline().rsplit(' ', 1)[0].strip()
        if folders + flat and not (folder / first).is_file():
            return (
                f'{part.path}: {listing}, which mmpretrain goes by, names {first}, which is not in '
                f'{folder}. If there is one folder per class, move the list away:\n'
                f'  mv {_quoted(listing)} {_quoted(listing)}.unused'
            )
    elif flat and not folders:
        return (
            f'{part.path}: {flat:,} images in {folder} without classes. mmpretrain needs one '
            f'folder per class, or {listing}. {_get(_IMAGENET_META, root)}'
        )
    elif folders != _CLASSES:
        return (
            f'{part.path}: {folders:,} class folders in {folder}, officially {_CLASSES:,}. '
            f'Unpack again. {_get(part.archive, root)}'
        )
    return None


def print_layout(name: str, root: str | Path | None = None) -> int:
    """Print what :func:`check_layout` finds.

    Returns:
        Exit status: 0 if all is there, else 1.

    Raises:
        InputError: As :func:`check_layout`.
    """
    issues = check_layout(name, root)
    layout = LAYOUTS[name]
    root = Path(root or layout.root)
    if issues:
        print(f'{name} in {root} is not complete; official page: {layout.page}')
        print(*(f'- {issue}' for issue in issues), sep='\n')
        return 1
    counts = ', '.join(f'{p.path} {p.files:,}' for p in layout.parts if p.files is not None)
    print(f'{name} in {root} is complete: {counts} images')
    return 0
