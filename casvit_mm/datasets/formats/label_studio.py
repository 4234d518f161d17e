"""Label Studio's JSON export as COCO content (https://labelstud.io/guide/task_format).

One file with a list of tasks, each with an image and annotations. Read are the regions of
``RectangleLabels``, turned ones as their four corners, ``PolygonLabels``, ``EllipseLabels``, as a
polygon within a tenth of a pixel, and ``BrushLabels`` in their own run lengths; likewise of
``Labels`` on ``Rectangle``, ``Polygon``, ``Ellipse`` and ``Brush``. Coordinates are percent of the
image; a rectangle turns clockwise about its upper left corner.

An image is found by ``/data/local-files/?d=PATH``, by ``/data/upload/N/1a2b3c4d-NAME`` with or
without the prefix that an upload adds, or by the last part of an address. Of several annotations
of a task the one marked as ground truth is taken, else the latest. Predictions are ignored; so are
tasks that nobody has annotated or that were skipped, and texts. All of this is counted. Choices are
classes of whole images, for classification.

Key points and vectors surround nothing: not learnt, and counted. Refused by name: regions of videos
and other kinds; with several labels or none; drawn on a turned image (``image_rotation``); and the
export JSON-MIN, which says less.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from casvit_mm.datasets.files import IMAGE_SUFFIXES, UNREAD_SUFFIXES
from casvit_mm.datasets.formats.base import Format, SourceFiles
from casvit_mm.datasets.formats.brush import decode_brush
from casvit_mm.datasets.formats.coco_values import is_size
from casvit_mm.datasets.formats.folders import has_texts
from casvit_mm.datasets.formats.gathering import (
    Gathering,
    ImageFinder,
    NoSurfaceError,
    gathered,
    images_beside,
    last_part,
    number,
    read_json,
    read_start,
    split_of,
)
from casvit_mm.datasets.formats.outlines import (
    box_fields,
    ellipse_outline,
    mask_fields,
    polygon_fields,
    rotated_outline,
)
from casvit_mm.errors import InputError

__all__ = ['FORMAT', 'read_label_studio']

_LINES = ('keypoint', 'vector')
_REGIONS = ('rectangle', 'polygon', 'ellipse', 'brush')
# Results about the image as a whole, a region's text, or two regions.
_ASIDE = ('choices', 'datetime', 'number', 'pairwise', 'rating', 'relation', 'taxonomy', 'textarea')
_PREFIX = re.compile(r'[0-9a-f]{8}-')  # of an uploaded file

Fields = dict[str, Any]


def _is_export(content: Any) -> bool:
    """Return whether the content of a JSON file is an export of Label Studio, not JSON-MIN."""
    tasks = content if isinstance(content, list) else []
    return bool(tasks) and all(
        isinstance(task, dict)
        and isinstance(task.get('data'), dict)
        and isinstance(task.get('annotations', task.get('completions')), list)
        for task in tasks
    )


def read_label_studio(files: SourceFiles) -> Gathering:
    """Read a JSON file.

    Args:
        files: The file, and the folder of images, in it or below.

    Raises:
        InputError: If the file is no export of Label Studio.
    """
    annotations = files.annotations
    try:
        tasks = read_json(
            annotations,
            _is_export,
            'export of Label Studio in the form JSON, a list of tasks with data and annotations',
        )
    except ValueError as error:
        raise InputError(f'annotation file {annotations} {error}') from error
    found = Gathering()
    finder = ImageFinder(files.images)
    counts: Counter[str] = Counter()
    taken: dict[str, str] = {}
    for i, task in enumerate(tasks, 1):
        place = f'{annotations.name}, task {task.get("id", i)}'
        counts['predictions, which are no truth'] += len(_list(task, 'predictions'))
        try:
            results = _chosen_results(task, counts)
            if results is None:
                continue
            name = _find(finder, _image_of(task), annotations.parent)
            if name in taken:
                raise ValueError(f'is about {name}, and so is {taken[name]}; take one away')
        except ValueError as error:
            found.refuse(place, error)
            continue
        taken[name] = place
        _read_task(results, name, place, finder, found, counts)
    found.notes += finder.notes()
    found.notes += [f'not used: {count} {what}' for what, count in counts.items() if count]
    return found


def _chosen_results(task: Fields, counts: Counter[str]) -> list[Fields] | None:
    """Return the results of the annotation to take; None if there is none.

    Raises:
        ValueError: If they are no results.
    """
    listed: Any = task.get('annotations', task.get('completions'))
    written = [a for a in listed if isinstance(a, dict)]
    done = [a for a in written if not a.get('was_cancelled')]
    if not done:
        counts['tasks that were skipped' if written else 'tasks without an annotation'] += 1
        return None
    truths = [a for a in done if a.get('ground_truth')]
    chosen = max(
        truths or done, key=lambda a: str(a.get('updated_at') or a.get('created_at') or '')
    )
    counts['further annotations of a task, beside its ground truth or its latest'] += len(done) - 1
    results = chosen.get('result', [])
    if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
        raise ValueError('has a result that is no list of regions. Export it again.')
    return results


def _list(entry: Fields, key: str) -> list[Any]:
    found = entry.get(key)
    return found if isinstance(found, list) else []


def _image_of(task: Fields) -> str:
    """Return the path or address of the image of a task.

    Raises:
        ValueError: If there is none, or one of several.
    """
    data = task['data']
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    if 'image' in texts:
        return texts['image']
    known = IMAGE_SUFFIXES | UNREAD_SUFFIXES
    found = [text for text in texts.values() if Path(_plain_path(text)).suffix.lower() in known]
    if len(found) != 1:
        raise ValueError(f'has {len(found)} images in data, which has {sorted(data)}; expected one')
    return found[0]


def _plain_path(address: str) -> str:
    """Return the path of the file that an address of Label Studio stands for."""
    parts = urlsplit(address) if '://' in address or address.startswith('/data/') else None
    if parts is None:
        return address
    local = parse_qs(parts.query).get('d')
    return local[0] if local else unquote(parts.path)


def _find(finder: ImageFinder, address: str, beside: Path) -> str:
    path = _plain_path(address)
    try:
        if '://' in address or path.startswith('/data/upload/'):
            path = last_part(path)
        return finder.find(path, beside)
    except ValueError as error:
        name = last_part(path)
        if _PREFIX.match(name):
            try:
                return finder.find(_PREFIX.sub('', name, count=1))
            except ValueError:
                pass
        raise error


def _read_task(
    results: list[Fields],
    name: str,
    place: str,
    finder: ImageFinder,
    found: Gathering,
    counts: Counter[str],
) -> None:
    written: list[Any] = [(r.get('original_width'), r.get('original_height')) for r in results]
    sizes = [size for size in written if is_size(*size)]
    width, height = sizes[0] if sizes else finder.size(name)
    image_id = found.add_image(name, width, height)
    labelled = {str(r.get('id')) for r in results if str(r.get('type', '')).endswith('labels')}
    for i, result in enumerate(results, 1):
        kind = str(result.get('type', ''))
        if kind == 'choices' and str(result.get('id')) not in labelled:  # not about a region
            found.classes.setdefault(name, []).extend(_choices(result))
            continue
        if kind in _ASIDE:
            counts[f'results of type {kind}'] += 1
            continue
        if kind in _REGIONS and str(result.get('id')) in labelled:
            continue  # its labels come with the same outline
        source = f'{place}, region {result.get("id", i)}'
        try:
            label, fields = _region(result, kind, width, height)
        except ValueError as error:
            found.refuse(source, error)
        else:
            found.add_object(label, image_id, source, fields)


def _choices(result: Fields) -> list[str]:
    value = result.get('value')
    listed = _list(value, 'choices') if isinstance(value, dict) else []
    return [str(choice).strip() for choice in listed]


def _region(result: Fields, kind: str, width: int, height: int) -> tuple[str, Fields]:
    """Return label, and box, area and segmentation of a region.

    Raises:
        ValueError: If it is none of an object.
    """
    value = result.get('value')
    if not isinstance(value, dict):
        raise ValueError('has no value')
    shape = kind.removesuffix('labels') or _shape_of(value)
    if shape in _LINES:
        raise NoSurfaceError(shape)
    if shape not in _REGIONS:
        raise ValueError(f'is of type {kind or "none"}, which is not read')
    if number(result.get('image_rotation') or 0, 'image_rotation') % 360:
        raise ValueError('was drawn on a turned image; turn the image file itself')
    labels = value.get(kind if kind.endswith('labels') else 'labels')
    if not isinstance(labels, list) or len(labels) != 1 or not _is_text(labels[0]):
        many = f'{len(labels)} labels' if isinstance(labels, list) and labels else 'no label'
        raise ValueError(f'has {many}; expected one')
    return labels[0].strip(), _fields(value, shape, width, height)


def _is_text(label: Any) -> bool:
    return isinstance(label, str) and bool(label.strip())


def _shape_of(value: Fields) -> str:
    """Return the shape of a result of ``Labels``, by what it holds."""
    keys = dict(rle='brush', points='polygon', radiusX='ellipse', width='rectangle')
    return next((shape for key, shape in keys.items() if key in value), '')


def _fields(value: Fields, shape: str, width: int, height: int) -> Fields:
    def pixels(key: str, side: int) -> float:
        return number(value.get(key), key) * side / 100

    if shape == 'brush':
        return mask_fields(decode_brush(value.get('rle'), width, height))
    if shape == 'polygon':
        points = value.get('points')
        if not isinstance(points, list) or not all(
            isinstance(p, list) and len(p) == 2 for p in points
        ):
            raise ValueError('has no list of points')
        sides = (width, height)
        outline = [
            number(share, 'coordinate') * sides[i] / 100
            for point in points
            for i, share in enumerate(point)
        ]
        return polygon_fields([outline], width, height)
    x, y = pixels('x', width), pixels('y', height)
    turn = number(value.get('rotation') or 0, 'rotation')
    if shape == 'ellipse':
        radii = pixels('radiusX', width), pixels('radiusY', height)
        return polygon_fields([ellipse_outline((x, y), radii, turn)], width, height)
    w, h = pixels('width', width), pixels('height', height)
    if turn % 360 == 0:
        return box_fields(x, y, x + w, y + h)
    return polygon_fields([rotated_outline((x, y, w, h), turn, (x, y))], width, height)


def _holds(path: Path) -> bool:
    """Return whether a file is a list of tasks; of another one only the start is read."""
    if path.suffix.lower() != '.json' or not path.is_file():
        return False
    try:
        if not read_start(path, 64).lstrip().startswith(b'['):
            return False
        return _is_export(read_json(path, bool, 'list'))
    except (OSError, ValueError):
        return False


def _describe(path: Path) -> dict[str, Any] | None:
    """Describe a file, or a folder that holds one or several."""
    files = [
        one for one in (sorted(path.glob('*.json')) if path.is_dir() else [path]) if _holds(one)
    ]
    if not files:
        return None
    sources = {file.stem: _source(file) for file in files}
    if all(map(_holds_choices_alone, files)):
        sources = {stem: {**one, 'class_from': 'annotations'} for stem, one in sources.items()}
    splits = {split_of(name): source for name, source in sources.items()}
    root = str(files[0].parent.resolve())
    if 'train' not in splits or None in splits or len(splits) < len(sources):
        return dict(root=root, data=list(sources.values()))
    return dict(root=root, **{str(split): source for split, source in splits.items()})


def _source(file: Path) -> dict[str, str]:
    return dict(annotations=str(file.resolve()), images=str(images_beside(file).resolve()))


def _holds_choices_alone(file: Path) -> bool:
    """Return whether images of a file have choices, and none of them a region."""
    regions = [f'"{shape}labels"'.encode() for shape in (*_REGIONS, *_LINES, '')]
    return has_texts(file, [b'"choices"']) and not any(has_texts(file, [r]) for r in regions)


FORMAT = Format(
    name='Label Studio',
    reads='the export JSON of Label Studio, beside the images or a folder images/',
    holds=_holds,
    describe=_describe,
    read=gathered(read_label_studio),
)
