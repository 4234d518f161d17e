"""The kinds of issues that classification data can have, and what each of them means."""

from __future__ import annotations

from casvit_mm.datasets.issues import IssueKind

__all__ = ['ISSUE_KINDS']

_STOPS = IssueKind('stops training', '')


ISSUE_KINDS = {
    # Files and their names; casvit_mm.classification.data.sources.
    'missing folder': _STOPS,
    'empty split': _STOPS,
    'unusable list': _STOPS,
    'listed image missing': _STOPS,
    'listed twice': _STOPS,
    'ambiguous name': _STOPS,
    'image without class': _STOPS,
    'label disagrees with folder': _STOPS,
    'unknown label': _STOPS,
    'image beside the class folders': IssueKind('not used', ''),
    # Classes.
    'empty class folder': IssueKind('its class is not measured', ''),
    'class without images': _STOPS,
    'class not under classes:': _STOPS,
    'class that train lacks': _STOPS,
    'only one class': _STOPS,
    'class not measured': IssueKind('its accuracy is unknown', ''),
    'class names alike': IssueKind('one class split in two?', ''),
    'folders of splits as classes': IssueKind('learns to tell splits apart', ''),
    # Images.
    'unreadable image': IssueKind('left out', ''),
    'splits share images': _STOPS,
    'image with two labels': IssueKind('teaches a contradiction', ''),
    # casvit_mm.datasets.image_scan; in the report only.
    'image twice in a split': IssueKind('weighs double', ''),
    'image in two splits': IssueKind('scores too good to be true', ''),
    'near-duplicate across splits': IssueKind('scores too good to be true', ''),
}
