"""Checks of the image files of a COCO-format split: what cannot be read or is of another size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from casvit_mm.datasets.files import is_listed
from casvit_mm.datasets.formats.coco_values import is_id, is_size
from casvit_mm.datasets.image_scan import ImageScan, ScanImages, scan_images
from casvit_mm.datasets.issues import Issue, unreadable_image

__all__ = ['file_issues', 'scan_split']


def scan_split(
    content: dict[str, Any],
    folder: Path,
    name: str,
    scan: ScanImages = scan_images,
) -> dict[int, ImageScan]:
    """Read the images of a split that exist, each id and file once, by position in the list.

    Args:
        content: Lists of images, annotations and categories.
        folder: What names of files count from.
        name: The split.
        scan: Reads the files, as a whole or in part.
    """
    entries = content.get('images')
    found: dict[int, Path] = {}
    ids = set()
    files = set()
    listing: dict[str, set[str]] = {}
    for i, entry in enumerate(entries if isinstance(entries, list) else []):
        if not isinstance(entry, dict) or not is_id(entry.get('id')) or entry['id'] in ids:
            continue
        ids.add(entry['id'])
        file_name = entry.get('file_name')
        if isinstance(file_name, str) and is_listed(folder, file_name, listing):
            path = os.path.normpath(file_name)
            if path not in files:
                found[i] = folder / file_name
            files.add(path)
    return dict(zip(found, scan(list(found.values()), name), strict=True))


def file_issues(
    content: dict[str, Any], scans: dict[int, ImageScan], masks_fatal: bool
) -> Iterator[Issue]:
    """Find files that cannot be read, or whose size is not the annotated one.

    Args:
        content: Lists of images, annotations and categories.
        scans: What the files hold, by position in the list of images.
        masks_fatal: Whether masks are trained on, where an RLE must have the image's size.
    """
    with_rle = {
        a['image_id']
        for a in content['annotations']
        if masks_fatal
        and isinstance(a, dict)
        and isinstance(a.get('segmentation'), dict)
        and is_id(a.get('image_id'))
    }
    for i, scan in scans.items():
        entry = content['images'][i]
        name, at = entry['file_name'], ('images', i)
        declared = (entry.get('width'), entry.get('height'))
        if scan.fault:
            yield unreadable_image(name, name, scan.fault, entry=at)
            continue
        if declared == scan.upright or not is_size(*declared):
            continue
        sizes = f'{declared[0]} x {declared[1]} in the annotations'
        seen = f'{scan.upright[0]} x {scan.upright[1]}'
        kind = 'image of another size'
        message = f'{name} is {sizes}, but {seen} in the file'
        if declared == scan.stored:
            kind = 'image turned by EXIF'
            message = (
                f'{name} is {sizes}, but its EXIF orientation turns it to {seen}, as training sees '
                'it. Look whether the boxes sit right; save the image upright.'
            )
        yield Issue(kind, name, message, entry.get('id') in with_rle, at)
