"""A classification dataset as labelled images, to be written in another format."""

from __future__ import annotations

from pathlib import Path

from casvit_mm.classification.data.description import read_dataset
from casvit_mm.classification.data.sources import Listing, list_splits
from casvit_mm.datasets.image_scan import scan_headers
from casvit_mm.datasets.issues import refuse_fatal
from casvit_mm.datasets.writers.base import ImageLabels, LabelledSet

__all__ = ['labelled_set']


def labelled_set(path: str | Path) -> tuple[LabelledSet, list[str]]:
    """Return the images of all splits with their classes, and what the user should know.

    Args:
        path: What ``--data`` takes.

    Raises:
        InputError: If training would refuse the lists or folders.
    """
    data = read_dataset(path)
    listings = list_splits(data, tuple(data.splits))
    refuse_fatal({name: listing.issues for name, listing in listings.items()})
    names = data.classes or tuple(
        sorted({image.class_name for listing in listings.values() for image in listing.images})
    )
    splits = {name: _images(listing, name) for name, listing in listings.items()}
    categories = [dict(id=i, name=name) for i, name in enumerate(names, 1)]
    return LabelledSet('classification', categories, splits), [
        *data.notes,
        *(note for listing in listings.values() for note in listing.notes),
    ]


def _images(listing: Listing, split: str) -> list[ImageLabels]:
    files = [Path(image.path) for image in listing.images]
    scans = scan_headers(files, split)
    return [
        ImageLabels(
            file,
            f'{image.class_name}/{file.name}',
            *(scan.upright if scan.error is None else (0, 0)),
            classes=[(image.class_name, None)],
        )
        for file, image, scan in zip(files, listing.images, scans, strict=True)
    ]
