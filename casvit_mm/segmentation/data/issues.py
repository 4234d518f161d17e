"""The kinds of issues that segmentation data can have, and what each of them means."""

from __future__ import annotations

from casvit_mm.datasets.classes import CLASS_KINDS
from casvit_mm.datasets.issues import DUPLICATE_KINDS, FILE_KINDS, STOPS, IssueKind

__all__ = ['ISSUE_KINDS']

_LEFT_OUT = IssueKind(STOPS.effect, 'leaves them out')

ISSUE_KINDS = {
    # Files and their names; casvit_mm.segmentation.data.sources.
    **FILE_KINDS,
    # Objects that are drawn into masks; casvit_mm.segmentation.data.rasters.
    'unreadable annotations': STOPS,
    'unreadable source': IssueKind(STOPS.effect, 'leaves the file, image or object out'),
    'annotations not used': IssueKind('neither learnt nor scored'),
    'object without mask': IssueKind('its box is neither learnt nor scored'),
    'names that differ': IssueKind(STOPS.effect, 'pairs them by one rule'),
    'image without label': _LEFT_OUT,
    'label without image': _LEFT_OUT,
    # What one mask holds; casvit_mm.segmentation.data.scan.
    'JPEG label': _LEFT_OUT,
    'unreadable label': _LEFT_OUT,
    'unreadable image': _LEFT_OUT,
    'label in colours': IssueKind(STOPS.effect, 'keeps one of equal channels'),
    'label of more than 8 bits': IssueKind(
        STOPS.effect, 'writes 8 bits if all values are below 256'
    ),
    'label of 2 or 4 bits': IssueKind(STOPS.effect, 'writes the same values with 8 bits'),
    'label of another size': _LEFT_OUT,
    # What the masks hold together; casvit_mm.segmentation.data.checks.
    'value outside the classes': STOPS,
    'nothing to learn': STOPS,
    'splits share images': IssueKind(STOPS.effect, 'takes them out of train'),
    'class without pixels': IssueKind('never learnt, or not measured'),
    'class that is ignored': IssueKind('never learnt, not scored'),
    **CLASS_KINDS,
    'label map ignored as a whole': IssueKind('teaches nothing'),
    # No fault; --fix lists what it writes anew.
    'values or colours of classes': IssueKind('read directly', 'writes indices'),
    # In the report only.
    **DUPLICATE_KINDS,
    'image twice in a split': IssueKind(
        DUPLICATE_KINDS['image twice in a split'].effect, 'keeps one where the masks are equal'
    ),
}
