"""The kinds of issues that detection data can have, and what each of them means."""

from __future__ import annotations

from casvit_mm.datasets.issues import Kind

__all__ = ['KINDS']


_STOPS = 'stops training'


_SKIPPED = 'object ignored in training'


KINDS = {
    # What a file must have; casvit_mm.datasets.formats.coco finds them.
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
    # Boxes and classes; casvit_mm.detection.data.checks.
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
    # Masks; casvit_mm.detection.data.mask_checks.
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
