"""Writes a clean copy of a dataset's masks: what can be fixed is, and nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from PIL import Image

from casvit_mm.datasets.copies import (
    describe_split,
    fixed_issues,
    is_one_set,
    refuse_copy,
    refuse_empty,
    write_description,
    write_list,
)
from casvit_mm.datasets.issues import FIXED_IN_TRAIN, Issue
from casvit_mm.io import replacing
from casvit_mm.segmentation.data.checks import Inspection
from casvit_mm.segmentation.data.description import IGNORED, Source
from casvit_mm.segmentation.data.issues import ISSUE_KINDS
from casvit_mm.segmentation.data.recoding import Recoding
from casvit_mm.segmentation.data.scan import label_values
from casvit_mm.segmentation.data.sources import ImagePair

__all__ = ['fix_dataset']

# Of masks that are written anew, if no value is lost by it.
_REWRITTEN = ('label in colours', 'label of more than 8 bits', 'label of 2 or 4 bits')
# Of masks that stay in the copy; of one that is left out they need nobody.
_OF_KEPT = ('image twice in a split', 'value outside the classes')


def fix_dataset(inspection: Inspection, folder: str | Path) -> tuple[Path, list[tuple[str, Issue]]]:
    """Write a clean copy of the masks and a ``dataset.yaml`` that points to it.

    Images stay where they are.

    Args:
        inspection: What was found, with the images read.
        folder: Where to write ``labels/``, lists of images, ``changes.json`` and ``dataset.yaml``.

    Returns:
        The ``dataset.yaml``, and what was fixed as (split, issue).

    Raises:
        InputError: If such a file is there already, something is wrong that only a person can
            fix, or no pair of a split would be left.
    """
    folder = Path(folder)
    masks = {split: _kept_masks(inspection, split) for split in inspection.pairs}
    readable = {split: {pair.label for pair, _ in kept} for split, kept in masks.items()}

    def by_hand(split: str, issue: Issue) -> bool:
        if issue.kind in FIXED_IN_TRAIN:
            return split != 'train'
        if issue.kind in _OF_KEPT and issue.entry is not None:
            return inspection.pairs[split][issue.entry[1]].label in readable[split]
        if issue.kind in _REWRITTEN and issue.entry is not None:
            return inspection.pairs[split][issue.entry[1]].label not in readable[split]
        return not ISSUE_KINDS[issue.kind].fix

    refuse_copy(folder, ['labels'], inspection.issues, by_hand)
    whole = is_one_set(inspection.data.split, bool(inspection.pairs['val']))
    if whole:  # the copy is taken apart in its turn
        masks = {'data': [pair for kept in masks.values() for pair in kept]}
    description: dict[str, Any] = {}
    for split, kept in masks.items():
        if not kept and not (split == 'test' and not inspection.pairs[split]):
            refuse_empty(split, inspection.data.path)
        sources = inspection.data.splits['train' if whole else split]
        description[split] = _write_sources(folder, split, sources, kept, inspection.recoding)
    description |= _fields(inspection, whole)
    changes = fixed_issues(inspection.issues, ISSUE_KINDS, by_hand)
    for split, pairs in inspection.pairs.items():
        for pair, scan in zip(pairs, inspection.scans[split], strict=True):
            if scan.recoded and pair.label in readable[split]:
                message = f'label {pair.label} has the values or colours that classes gives'
                kind = 'values or colours of classes'
                changes.append((split, Issue(kind, Path(pair.label).name, message, False)))
    return write_description(folder, description, changes, ISSUE_KINDS), changes


def _kept_masks(inspection: Inspection, split: str) -> list[tuple[ImagePair, Source]]:
    """Return the pairs that the copy has, each with the source whose images it is of."""
    others = [name for name in inspection.pairs if name != split] if split == 'train' else []
    paths = {pair.image for name in others for pair in inspection.pairs[name]}
    digests = {scan.image.digest for name in others for scan in inspection.scans[name]} - {b''}
    kept = []
    seen: set[tuple[bytes, bytes]] = set()  # what image and mask hold
    for pair, scan in zip(inspection.pairs[split], inspection.scans[split], strict=True):
        if pair.image in paths or scan.image.digest in digests or scan.image.fault:
            continue
        if scan.issue is not None and scan.issue.kind not in _REWRITTEN:
            continue
        values = label_values(pair.label, inspection.recoding)
        if values is None:
            continue
        both = (scan.image.digest, hashlib.sha256(values.tobytes()).digest())
        if both in seen:
            continue
        seen.add(both)
        source = next(
            s for s in inspection.data.splits[split] if Path(pair.image).is_relative_to(s.images)
        )
        kept.append((pair, source))
    return kept


def _write_sources(
    folder: Path,
    split: str,
    sources: tuple[Source, ...],
    kept: list[tuple[ImagePair, Source]],
    recoding: Recoding,
) -> list[dict[str, str]]:
    """Write the masks and the list of every source, and return how they are described."""
    described = []
    for number, source in enumerate(sources):
        pairs = [pair for pair, own in kept if own is source]
        if not pairs:
            continue
        name = f'{split}_{number}' if number else split
        suffix = source.image_suffix
        names = []
        for pair in pairs:
            image = Path(pair.image).relative_to(source.images).as_posix()
            stem = image.removesuffix(suffix) if suffix else str(Path(image).with_suffix(''))
            values = label_values(pair.label, recoding)
            assert values is not None
            with replacing(folder / 'labels' / name / f'{stem}.png', 'wb') as file:
                Image.fromarray(values).save(file, 'PNG')
            names.append(image)
        write_list(folder / f'{name}.txt', names)
        entry = dict(images=str(source.images), labels=f'labels/{name}', list=f'{name}.txt')
        described.append({**entry, **({'image_suffix': suffix} if suffix else {})})
    return described


def _fields(inspection: Inspection, whole: bool) -> dict[str, Any]:
    """Return what the description of the copy says beside its sources."""
    data = inspection.data
    fields: dict[str, Any] = {}
    if whole and data.split is not None:
        fields['split'] = describe_split(data.split)
    fields['classes'] = list(data.classes)
    if data.colours is not None:
        colours = zip(data.classes, data.palette, strict=True)
        fields['classes'] = {name: list(colour) for name, colour in colours}
    if ignore := sorted(data.ignore - {IGNORED} - ({0} if data.reduce_zero_label else set())):
        fields['ignore'] = ignore
    if data.reduce_zero_label:
        fields['reduce_zero_label'] = True
    return fields
