"""The kinds of issues that segmentation data can have, and what each of them means."""

from __future__ import annotations

from casvit_mm.datasets.issues import DUPLICATE_KINDS, FILE_KINDS, STOPS, IssueKind

__all__ = ['ISSUE_KINDS']

ISSUE_KINDS = {
    # Files and their names; casvit_mm.segmentation.data.sources.
    **FILE_KINDS,
    'image without label': STOPS,
    'label without image': STOPS,
    # What one mask holds; casvit_mm.segmentation.data.scan.
    'JPEG label': STOPS,
    'unreadable label': STOPS,
    'unreadable image': STOPS,
    'label in colours': STOPS,
    'label of more than 8 bits': STOPS,
    'label of 2 or 4 bits': STOPS,
    'label of another size': STOPS,
    # What the masks hold together; casvit_mm.segmentation.data.checks.
    'value outside the classes': STOPS,
    'nothing to learn': STOPS,
    'splits share images': STOPS,
    'class without pixels': IssueKind('never learnt, or not measured'),
    'class that is ignored': IssueKind('never learnt, not scored'),
    'label map ignored as a whole': IssueKind('teaches nothing'),
    **DUPLICATE_KINDS,  # in the report only
}
