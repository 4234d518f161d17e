"""The kinds of issues that detection data can have, and what each of them means."""

from __future__ import annotations

from casvit_mm.datasets.issues import IssueKind

__all__ = ['ISSUE_KINDS']


_STOPS = 'stops training'


_SKIPPED = 'object ignored in training'


ISSUE_KINDS = {
    # What a file must have; casvit_mm.datasets.formats.coco finds them.
    'unreadable annotations': IssueKind(_STOPS, ''),
    'unreadable source': IssueKind(_STOPS, 'leaves the file, image or object out'),
    'missing list': IssueKind(_STOPS, ''),
    'missing field': IssueKind(_STOPS, 'fills in id and area of an object, drops other entries'),
    'malformed entry': IssueKind(_STOPS, 'drops the entry'),
    'malformed category': IssueKind(_STOPS, ''),
    'duplicate category': IssueKind(_STOPS, ''),
    'duplicate image id': IssueKind(
        _STOPS, 'drops repeated entries; all with their objects if they name different files'
    ),
    'duplicate annotation id': IssueKind(_STOPS, 'numbers anew'),
    'no image folder': IssueKind(_STOPS, ''),
    'impossible image size': IssueKind(_STOPS, 'takes the size from the image'),
    'missing image': IssueKind(_STOPS, 'drops the image and its objects'),
    'unknown category': IssueKind(_STOPS, 'drops the object'),
    'unknown image': IssueKind(_STOPS, 'drops the object'),
    'malformed box': IssueKind(_STOPS, 'drops the object'),
    'malformed area': IssueKind(_STOPS, 'computes the area'),
    'object without mask': IssueKind(_STOPS, 'drops the object'),
    'broken polygon': IssueKind(_STOPS, 'drops the polygon; the object if none is left'),
    'no usable object': IssueKind(_STOPS, ''),
    'splits disagree on categories': IssueKind(_STOPS, ''),
    'class not learnt': IssueKind(_STOPS, ''),
    'train shares images': IssueKind(_STOPS, 'drops them from train'),
    'val and test share images': IssueKind(_STOPS, ''),
    # Boxes and classes; casvit_mm.detection.data.checks.
    'box without area': IssueKind(_SKIPPED, 'drops the object'),
    'box outside its image': IssueKind(_SKIPPED, 'drops the object'),
    'box beyond the edge': IssueKind('taught beyond the image', 'clips the box'),
    'duplicate box': IssueKind('object counted twice', 'keeps one'),
    'tiny box (< 2 px)': IssueKind('ignored below 1 px, hardly learnt above', ''),
    'area not positive': IssueKind(_SKIPPED, 'computes the area'),
    'area differs from object': IssueKind('AP of small/medium/large wrong', 'computes the area'),
    'image without objects': IssueKind('image skipped in training', ''),
    'class without objects': IssueKind('never learnt, or not measured', ''),
    'rare class': IssueKind('hardly learnt', ''),
    'category names alike': IssueKind('one class split in two?', ''),
    # Masks; casvit_mm.detection.data.mask_checks.
    'flat polygon': IssueKind(
        'teaches an empty mask', 'drops the polygon; the object if none is left'
    ),
    'self-crossing polygon': IssueKind('its area is doubtful', ''),
    'polygon beyond the image': IssueKind('cut at the edge', 'clips the polygon'),
    'RLE that does not decode': IssueKind(_STOPS, 'drops the object'),
    'RLE of another size': IssueKind(_STOPS, 'drops the object'),
    'empty RLE': IssueKind('teaches an empty mask', 'drops the object'),
    'box differs from mask': IssueKind('box and mask disagree', 'takes the box from the mask'),
    # Image files; casvit_mm.datasets.image_scan.
    'unreadable image': IssueKind(_STOPS, 'drops the image and its objects'),
    'image of another size': IssueKind(
        'boxes may sit elsewhere', 'corrects the size; scales objects if the proportions agree'
    ),
    'image turned by EXIF': IssueKind('boxes may sit elsewhere', 'drops the image and its objects'),
    'image twice in a split': IssueKind('weighs double', ''),
    'image in two splits': IssueKind('scores too good to be true', 'drops it from train'),
    'near-duplicate across splits': IssueKind('scores too good to be true', ''),
}
