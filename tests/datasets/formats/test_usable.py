import re

import pytest

from casvit_mm.datasets.formats.usable import describe_obstacles, find_obstacle

SOUND = dict(image_id=1, bbox=[5, 5, 10, 10], area=100, iscrowd=0)


@pytest.mark.parametrize(
    ('change', 'obstacle', 'message'),
    [
        ({}, None, ''),
        (dict(iscrowd=1), 'crowd', r'of 3 listed, 3 have iscrowd: 1.*write 0 where'),
        (dict(iscrowd=1, ignored=1), 'ignored', '3 have ignore: 1'),
        (dict(area=0), 'area', '3 have an area of 0 or less .*--fix DIR computes it'),
        (dict(bbox=[0.1, 0.2, 0.3, 0.4]), 'tiny', '3 have a box below 1 px .*multiply shares'),
        (dict(bbox=[70, 5, 10, 10]), 'outside', '3 have a box outside their image'),
        (dict(image_id=9), 'malformed', '3 have no sound box and area'),
        (dict(bbox=None), 'malformed', '3 have no sound box and area'),
    ],
)
def test_the_condition_that_fails_is_counted(change, obstacle, message):
    assert find_obstacle({**SOUND, **change}, {1: (64, 48)}) == obstacle
    if obstacle is not None:
        assert re.search(message, describe_obstacles([obstacle] * 3))


def test_several_conditions_are_told_apart():
    text = describe_obstacles(['crowd', 'area', 'crowd'])
    assert '2 have iscrowd: 1' in text
    assert '1 have an area' in text
