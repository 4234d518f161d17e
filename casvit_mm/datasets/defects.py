"""The kinds of defects that detection data can have, and what each of them means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from casvit_mm.errors import InputError

__all__ = ['KINDS', 'Defect', 'Kind', 'first_of', 'name_annotation', 'refuse_fatal', 'remarks_of']


@dataclass(frozen=True)
class Defect:
    """One defect at one place.

    Attributes:
        kind: Key of :data:`KINDS`, or of its like for label maps.
        where: The place, in few words, e.g. ``'annotation 12'``.
        message: A sentence naming place, cause and cure.
        fatal: Whether the split cannot be trained on or evaluated.
        entry: The list of COCO format and the position in it that the defect is about; None where
            it is about more than one entry.
    """

    kind: str
    where: str
    message: str
    fatal: bool
    entry: tuple[str, int] | None = None


@dataclass(frozen=True)
class Kind:
    """What a kind of defect means.

    Attributes:
        effect: What it does to training, where training does not refuse it.
        mend: What ``--fix`` does; empty where only a person can mend it.
    """

    effect: str
    mend: str


def first_of(messages: Sequence[str]) -> str:
    """Return the first message, and how many more there are."""
    if len(messages) == 1:
        return messages[0]
    more = f'{len(messages) - 1} more like it: python tools/check_data.py lists them all.'
    return f'{messages[0].removesuffix(".")}. {more}'


def refuse_fatal(found: Mapping[str, Sequence[Defect]]) -> None:
    """Refuse data of which some split cannot be trained on or evaluated.

    Args:
        found: Defects by split.

    Raises:
        InputError: With the first message, and how many more there are.
    """
    fatal = [defect.message for defects in found.values() for defect in defects if defect.fatal]
    if fatal:
        raise InputError(first_of(fatal))


def remarks_of(defects: Sequence[Defect]) -> tuple[str, ...]:
    """Return one message per kind of defect."""
    messages: dict[str, list[str]] = {}
    for defect in defects:
        messages.setdefault(defect.kind, []).append(defect.message)
    return tuple(map(first_of, messages.values()))


def name_annotation(annotation: dict[str, Any]) -> str:
    """Name an annotation for a message: its id, and the place that it was converted from."""
    source = annotation.get('source')
    return f'annotation {annotation.get("id")}{f" ({source})" if source else ""}'


_STOPS = 'stops training'
_SKIPPED = 'object ignored in training'

KINDS = {
    # What a file must have; casvit_mm.datasets.coco finds them.
    'unreadable annotations': Kind(_STOPS, ''),
    'unreadable source': Kind(_STOPS, 'leaves the file, image or object out'),
    'missing list': Kind(_STOPS, ''),
    'missing field': Kind(_STOPS, 'fills in id and area of an object, drops other entries'),
    'malformed entry': Kind(_STOPS, 'drops the entry'),
    'malformed category': Kind(_STOPS, ''),
    'duplicate category': Kind(_STOPS, ''),
    'duplicate image id': Kind(
        _STOPS, 'drops repeated entries; all with their objects if they name different files'
    ),
    'duplicate annotation id': Kind(_STOPS, 'numbers anew'),
    'no image folder': Kind(_STOPS, ''),
    'impossible image size': Kind(_STOPS, 'takes the size from the image'),
    'missing image': Kind(_STOPS, 'drops the image and its objects'),
    'unknown category': Kind(_STOPS, 'drops the object'),
    'unknown image': Kind(_STOPS, 'drops the object'),
    'malformed box': Kind(_STOPS, 'drops the object'),
    'malformed area': Kind(_STOPS, 'computes the area'),
    'object without mask': Kind(_STOPS, 'drops the object'),
    'broken polygon': Kind(_STOPS, 'drops the polygon; the object if none is left'),
    'no usable object': Kind(_STOPS, ''),
    'splits disagree on categories': Kind(_STOPS, ''),
    'class not learnt': Kind(_STOPS, ''),
    'train shares images': Kind(_STOPS, 'drops them from train'),
    'val and test share images': Kind(_STOPS, ''),
    # Boxes and classes; casvit_mm.datasets.inspect.
    'box without area': Kind(_SKIPPED, 'drops the object'),
    'box outside its image': Kind(_SKIPPED, 'drops the object'),
    'box beyond the edge': Kind('taught beyond the image', 'clips the box'),
    'duplicate box': Kind('object counted twice', 'keeps one'),
    'tiny box (< 2 px)': Kind('ignored below 1 px, hardly learnt above', ''),
    'area not positive': Kind(_SKIPPED, 'computes the area'),
    'area differs from object': Kind('AP of small/medium/large wrong', 'computes the area'),
    'image without objects': Kind('image skipped in training', ''),
    'class without objects': Kind('never learnt, or not measured', ''),
    'rare class': Kind('hardly learnt', ''),
    'category names alike': Kind('one class split in two?', ''),
    # Masks; casvit_mm.datasets.mask_defects.
    'flat polygon': Kind('teaches an empty mask', 'drops the polygon; the object if none is left'),
    'self-crossing polygon': Kind('its area is doubtful', ''),
    'polygon beyond the image': Kind('cut at the edge', 'clips the polygon'),
    'RLE that does not decode': Kind(_STOPS, 'drops the object'),
    'RLE of another size': Kind(_STOPS, 'drops the object'),
    'empty RLE': Kind('teaches an empty mask', 'drops the object'),
    'box differs from mask': Kind('box and mask disagree', 'takes the box from the mask'),
    # Image files; casvit_mm.datasets.image_scan.
    'unreadable image': Kind(_STOPS, 'drops the image and its objects'),
    'image of another size': Kind(
        'boxes may sit elsewhere', 'corrects the size; scales objects if the proportions agree'
    ),
    'image turned by EXIF': Kind('boxes may sit elsewhere', 'drops the image and its objects'),
    'image twice in a split': Kind('weighs double', ''),
    'image in two splits': Kind('scores too good to be true', 'drops it from train'),
    'near-duplicate across splits': Kind('scores too good to be true', ''),
}
