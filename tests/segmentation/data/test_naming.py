"""Which names are one pair, and which are left alone."""

import pytest

from casvit_mm.segmentation.data.naming import match_names


@pytest.mark.parametrize(
    ('images', 'labels', 'what'),
    [
        ('img_001 img_002 img_003', 'mask_001 mask_002 mask_003', 'begin or end with'),
        ('a b c', 'a_mask b_mask c_mask', 'begin or end with'),
        ('IMG01 IMG02', 'lab01_gt lab02_gt', 'begin or end with'),
        ('Ab aC', 'ab AC', 'upper and lower case'),
        ('x/img_1 x/img_2 y/img_1', 'X/m_1 X/m_2 Y/m_1', 'begin or end with'),
        ('img_1 img_2 img_10', 'mask_001 mask_002 mask_010', 'leading zeros'),
        ('a_image_1 b_image_2', 'a_mask_1 b_mask_2', 'words like image and mask'),
        ('cat', 'cat_mask', 'words like image and mask'),
        ('2021_im 2022_im', '2021_lb 2022_lb', 'begin or end with'),
    ],
)
def test_one_rule_pairs_all_in_order(images, labels, what):
    found, pairs = match_names(set(images.split()), set(labels.split()))
    assert what in found
    assert pairs == dict(zip(images.split(), labels.split(), strict=True))


@pytest.mark.parametrize(
    ('images', 'labels', 'pairs'),
    [
        ('P0_s0 P0_s1 P9', 'P0_s0_mask P0_s1_mask', 'P0_s0 P0_s1'),
        ('img_1 img_2', 'mask_1 mask_2 mask_3', 'img_1 img_2'),
        ('1 2 3', '1 2', '1 2'),
    ],
)
def test_some_of_the_more_may_stay_alone(images, labels, pairs):
    _, found = match_names(set(images.split()), set(labels.split()))
    assert list(found) == pairs.split()
    assert list(found.values()) == labels.split()[: len(found)]


@pytest.mark.parametrize(
    ('images', 'labels'),
    [
        ('101 102', '201 202'),
        ('cat car', 'dot dor'),
        ('a A', 'a_mask A_mask'),
        ('img_1 img_2', 'mask_2 mask_3'),
        ('one', 'two'),
        ('image mask', 'label gt'),
    ],
)
def test_names_that_no_rule_pairs_are_left_alone(images, labels):
    assert match_names(set(images.split()), set(labels.split())) == ('', {})
