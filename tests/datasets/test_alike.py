"""Images that look alike."""

import numpy as np
import pytest

from casvit_mm.datasets.alike import alike_pairs
from casvit_mm.datasets.image_scan import ImageScan


def scans(thumbnails):
    found = []
    for i, values in enumerate(thumbnails):
        normed = (values - values.mean()) / values.std()
        found.append(ImageScan(digest=bytes([i % 256, i // 256]), thumbnail=normed))
    return found


@pytest.fixture
def scenes():
    return np.random.default_rng(0).standard_normal((600, 16, 17)).cumsum(axis=2)


def test_images_that_differ_little_are_found_among_many(scenes):
    noise = np.random.default_rng(1).standard_normal((2, 16, 17))
    scenes[400] = scenes[7] + 0.02 * noise[0]
    scenes[599] = scenes[7] + 0.02 * noise[1]
    assert alike_pairs(scans(scenes)).tolist() == [[7, 400], [7, 599], [400, 599]]


def test_close_hashes_alone_are_not_enough(scenes):
    other = scenes[0].copy()
    other[8:] *= 0.01  # every difference has kept its sign
    assert len(alike_pairs(scans([scenes[0], other]))) == 0


def test_of_identical_files_the_first_is_looked_at_and_what_has_no_hash_is_left_out(scenes):
    found = scans([scenes[0], scenes[0] + 0.001 * scenes[1]])
    pairs = alike_pairs([found[1], ImageScan(), found[0], found[0], found[1]])
    assert pairs.tolist() == [[0, 2]]


def test_many_images_of_one_scene_are_joined_by_a_part_of_their_pairs(scenes):
    noise = np.random.default_rng(1).standard_normal((600, 16, 17))
    pairs = alike_pairs(scans(scenes[0] + 0.02 * noise))
    assert len(pairs) < 600 * 16 * 17
    top = {0}
    for _ in range(600):
        top |= {k for pair in pairs.tolist() if top & {*pair} for k in pair}
        if len(top) == 600:
            break
    assert len(top) == 600
