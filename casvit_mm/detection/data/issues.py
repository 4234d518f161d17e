"""The kinds of issues that detection data can have, and what each of them means."""

from __future__ import annotations

from casvit_mm.datasets.classes import CLASS_KINDS
from casvit_mm.datasets.issues import DUPLICATE_KINDS, STOPS, UNUSED_KINDS, IssueKind

__all__ = ['ISSUE_KINDS']

_SKIPPED = 'object ignored in training'

ISSUE_KINDS = {
    # What a file must have; casvit_mm.datasets.formats.coco finds them.
    'unreadable annotations': STOPS,
    'unreadable source': IssueKind(STOPS.effect, 'leaves the file, image or object out'),
    **UNUSED_KINDS,
    'annotations not used': IssueKind('neither learnt nor scored'),
    'missing list': STOPS,
    'missing field': IssueKind(
        STOPS.effect, 'fills in id and area of an object, drops other entries'
    ),
    'malformed entry': IssueKind(STOPS.effect, 'drops the entry'),
    'malformed category': STOPS,
    'duplicate category': STOPS,
    'duplicate image id': IssueKind(
        STOPS.effect, 'drops repeated entries; all with their objects if they name different files'
    ),
    'file under two image ids': IssueKind(
        STOPS.effect, 'joins the entries; drops them with their objects if their sizes differ'
    ),
    'boxes look like corners': STOPS,
    'duplicate annotation id': IssueKind(STOPS.effect, 'numbers anew'),
    'missing folder': STOPS,
    'impossible image size': IssueKind(STOPS.effect, 'takes the size from the image'),
    'missing image': IssueKind(STOPS.effect, 'drops the image and its objects'),
    'unknown category': IssueKind(STOPS.effect, 'drops the object'),
    'unknown image': IssueKind(STOPS.effect, 'drops the object'),
    'malformed box': IssueKind(STOPS.effect, 'drops the object'),
    'malformed area': IssueKind(STOPS.effect, 'computes the area'),
    'malformed flag': IssueKind(STOPS.effect, 'drops the object'),
    'object to be ignored': IssueKind('taken for a crowd: not learnt, not counted'),
    'object without mask': IssueKind(STOPS.effect, 'drops the object'),
    'broken polygon': IssueKind(STOPS.effect, 'drops the polygon; the object if none is left'),
    'RLE that does not decode': IssueKind(STOPS.effect, 'drops the object'),
    'RLE of another size': IssueKind(STOPS.effect, 'drops the object'),
    'no usable object': STOPS,
    'splits disagree on categories': STOPS,
    'class not learnt': STOPS,
    'splits share images': IssueKind(STOPS.effect, 'takes them out of train'),
    # Boxes and classes; casvit_mm.detection.data.checks.
    'box without area': IssueKind(_SKIPPED, 'drops the object'),
    'box outside its image': IssueKind(_SKIPPED, 'drops the object'),
    'box beyond the edge': IssueKind('taught beyond the image', 'clips the box'),
    'duplicate box': IssueKind('object counted twice', 'keeps one'),
    'tiny box (< 2 px)': IssueKind('ignored below 1 px, hardly learnt above'),
    'area not positive': IssueKind(_SKIPPED, 'computes the area'),
    'area differs from object': IssueKind('AP of small/medium/large wrong', 'computes the area'),
    'image without objects': IssueKind('image skipped in training'),
    'small image': IssueKind('left out of training'),
    'no image left': STOPS,
    'class without objects': IssueKind('never learnt, or not measured'),
    **CLASS_KINDS,
    # Masks; casvit_mm.detection.data.mask_checks.
    'flat polygon': IssueKind(
        'teaches an empty mask', 'drops the polygon; the object if none is left'
    ),
    'self-crossing polygon': IssueKind('its area is doubtful'),
    'polygon beyond the image': IssueKind('cut at the edge', 'clips the polygon'),
    'empty RLE': IssueKind('teaches an empty mask', 'drops the object'),
    'box differs from mask': IssueKind('box and mask disagree', 'takes the box from the mask'),
    # Image files; casvit_mm.detection.data.image_checks.
    'unreadable image': IssueKind(STOPS.effect, 'drops the image and its objects'),
    'image of another size': IssueKind(
        'boxes may sit elsewhere', 'corrects the size; scales objects if the proportions agree'
    ),
    'image turned by EXIF': IssueKind('boxes may sit elsewhere', 'drops the image and its objects'),
    **DUPLICATE_KINDS,
}
