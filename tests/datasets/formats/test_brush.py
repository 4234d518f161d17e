"""Masks in Label Studio's run lengths are decoded and encoded."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from casvit_mm.datasets.formats.brush import decode_brush, encode_brush


@given(arrays.arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 40))))
@settings(deadline=None, max_examples=50)
def test_a_mask_comes_back(mask):
    height, width = mask.shape
    np.testing.assert_array_equal(decode_brush(encode_brush(mask), width, height), mask)


def test_runs_longer_than_a_length_holds_come_back():
    mask = np.zeros((300, 400), dtype=bool)
    mask[200:] = True
    np.testing.assert_array_equal(decode_brush(encode_brush(mask), 400, 300), mask)


def test_the_bits_are_those_of_the_format():
    # 4 bytes; values of 8 bits; lengths of 3, 4, 8 and 16 bits; one run of 4 times 255.
    bits = f'{4:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}' + '1' + '00' + f'{3:03b}' + f'{255:08b}'
    bits += '0' * (-len(bits) % 8)
    packed = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    assert encode_brush(np.ones((1, 1), bool)) == packed


def test_values_one_by_one_are_read_and_alpha_decides():
    # Two pixels as eight single values: the first one transparent red, the second one half opaque.
    values = [255, 0, 0, 0, 0, 0, 0, 128]
    bits = f'{8:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}' + '0' + '00' + f'{7:03b}'
    bits += ''.join(f'{value:08b}' for value in values)
    bits += '0' * (-len(bits) % 8)
    packed = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    assert decode_brush(packed, 2, 1).tolist() == [[False, True]]


@pytest.mark.parametrize(
    ('rle', 'message'),
    [
        (None, 'no list of bytes'),
        ([300], 'no list of bytes'),
        ([0, 0], 'cut short'),
        (encode_brush(np.ones((2, 2), bool))[:-2], 'cut short'),
        (encode_brush(np.ones((2, 3), bool)), 'of 6 pixels; the image has 2 x 2'),
    ],
)
def test_a_damaged_mask_is_refused(rle, message):
    with pytest.raises(ValueError, match=message):
        decode_brush(rle, 2, 2)
