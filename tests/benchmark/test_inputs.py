"""The picture that models are timed on."""

import pytest

from casvit_mm.benchmark.inputs import parse_size
from casvit_mm.errors import InputError


@pytest.mark.parametrize(('text', 'size'), [('224', (224, 224)), ('640x480', (480, 640))])
def test_a_size_is_width_by_height(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize('text', ['x', '640x', '-3', '16', '640x16'])
def test_a_size_that_cannot_be_is_refused(text):
    with pytest.raises(InputError, match='size'):
        parse_size(text)
