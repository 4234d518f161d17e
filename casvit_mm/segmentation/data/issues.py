"""The kinds of issues that segmentation data can have, and what each of them means."""

from __future__ import annotations

from casvit_mm.datasets.issues import IssueKind

__all__ = ['ISSUE_KINDS']

_STOPS = IssueKind('stops training', '')


ISSUE_KINDS = {
    # Files and their names; casvit_mm.segmentation.data.sources.
    'missing folder': _STOPS,
    'empty split': _STOPS,
    'unusable list': _STOPS,
    'listed image missing': _STOPS,
    'listed twice': _STOPS,
    'ambiguous name': _STOPS,
    'image without label': _STOPS,
    'label without image': _STOPS,
    # What one label map holds; casvit_mm.segmentation.data.scan.
    'JPEG label': _STOPS,
    'unreadable label': _STOPS,
    'unreadable image': _STOPS,
    'label in colours': _STOPS,
    'label of more than 8 bits': _STOPS,
    'label of 2 or 4 bits': _STOPS,
    'label of another size': _STOPS,
    # What the label maps hold together.
    'value outside the classes': _STOPS,
    'nothing to learn': _STOPS,
    'splits share images': _STOPS,
    'class without pixels': IssueKind('never learnt, or not measured', ''),
    'class that is ignored': IssueKind('never learnt, not scored', ''),
    'label map ignored as a whole': IssueKind('teaches nothing', ''),
    # Image files; casvit_mm.datasets.image_scan.
    'image twice in a split': IssueKind('weighs double', ''),
    'image in two splits': IssueKind('scores too good to be true', ''),
    'near-duplicate across splits': IssueKind('scores too good to be true', ''),
}
