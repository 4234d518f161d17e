"""Pairs of images and masks whose names differ, found where one rule leaves none of the fewer."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection

__all__ = ['match_names']

_SEPARATORS = '_-. '
_WORDS = (
    *('annotation', 'color', 'colour', 'frame', 'groundtruth', 'gt', 'image', 'img', 'label'),
    *('labels', 'mask', 'masks', 'photo', 'rgb', 'seg', 'segmentation', 'target'),
)


def match_names(images: Collection[str], labels: Collection[str]) -> tuple[str, dict[str, str]]:
    """Find a rule by which every mask has one image; or, with more masks, every image one mask.

    Args:
        images: Names without suffix, with their folders.
        labels: Likewise.

    Returns:
        What the names differ in, and the name of the mask by that of the image; of the first rule
        that leaves none of the fewer over, and nothing where none does.
    """
    for what, keys_of in _RULES.items():
        sides = []
        for names in (sorted(images), sorted(labels)):
            sides.append(dict(zip(keys_of(names), names, strict=True)))
        by_image, by_label = sides
        one_to_one = len(by_image) == len(images) and len(by_label) == len(labels)
        common = by_image.keys() & by_label.keys()
        whole = len(common) == min(len(by_image), len(by_label))
        if one_to_one and whole and '' not in by_image:
            return what, {by_image[key]: by_label[key] for key in sorted(common)}
    return '', {}


def _without_case(names: list[str]) -> list[str]:
    return [name.casefold() for name in names]


def _without_ends(names: list[str]) -> list[str]:
    """Take off what all names begin and end with, up to whole words and numbers."""
    folders = [posixpath.dirname(name) for name in _without_case(names)]
    last = [posixpath.basename(name) for name in _without_case(names)]
    if len(names) > 1:
        for _ in range(2):  # beginnings, then, from behind, ends
            common = _common_words(last)
            last = [name[len(common) :][::-1] for name in last]
    return [f'{folder}/{name}' if name else '' for folder, name in zip(folders, last, strict=True)]


def _common_words(names: list[str]) -> str:
    """Return with what all names begin, as far as a word or a number begins behind it."""
    low, high = min(names), max(names)
    common = low
    while not high.startswith(common):
        common = common[:-1]
    while common and common[-1] not in _SEPARATORS:
        following = [name[len(common) : len(common) + 1] for name in names]
        if common[-1].isalpha() and all(character.isdigit() for character in following):
            break
        common = common[:-1]
    return common


def _without_zeros(names: list[str]) -> list[str]:
    return [re.sub(r'0+(?=\d)', '', name) for name in _without_ends(names)]


def _without_words(names: list[str]) -> list[str]:
    """Take out words for images and for masks, wherever they stand."""
    keys = []
    for name in _without_case(names):
        words = re.split(rf'([{re.escape(_SEPARATORS)}/]+)', name)
        keys.append('_'.join(word for word in words[::2] if word not in _WORDS))
    return keys


# From the narrowest to the widest.
_RULES: dict[str, Callable[[list[str]], list[str]]] = {
    'upper and lower case': _without_case,
    'what those of a folder begin or end with': _without_ends,
    'leading zeros, and what those of a folder begin or end with': _without_zeros,
    'words like image and mask': _without_words,
}
