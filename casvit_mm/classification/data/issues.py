"""The kinds of issues that classification data can have, and what each of them means."""

from __future__ import annotations

from casvit_mm.datasets.classes import CLASS_KINDS
from casvit_mm.datasets.issues import DUPLICATE_KINDS, FILE_KINDS, STOPS, IssueKind

__all__ = ['ISSUE_KINDS']

ISSUE_KINDS = {
    # Files and their names; casvit_mm.classification.data.sources.
    **FILE_KINDS,
    'image without class': STOPS,
    'label disagrees with folder': STOPS,
    'several classes': STOPS,
    'unknown label': STOPS,
    'image beside the class folders': IssueKind('not used', 'leaves it out'),
    # Classes.
    'empty class folder': IssueKind('its class is not measured', 'leaves the class out'),
    'class without images': STOPS,
    'class not under classes:': STOPS,
    'class that train lacks': STOPS,
    'only one class': STOPS,
    'class not measured': IssueKind('its accuracy is unknown'),
    **CLASS_KINDS,
    'folders of splits as classes': IssueKind('learns to tell splits apart'),
    # No fault; --fix lists what it writes into the lists.
    'name that counts as a class': IssueKind('read directly', 'writes the class'),
    # Images.
    'unreadable image': IssueKind('left out', 'leaves it out'),
    'splits share images': IssueKind(STOPS.effect, 'takes them out of train'),
    'image with two labels': IssueKind('teaches a contradiction', 'leaves it out everywhere'),
    # In the report only.
    **DUPLICATE_KINDS,
    'image twice in a split': IssueKind(
        DUPLICATE_KINDS['image twice in a split'].effect, 'keeps one'
    ),
}
