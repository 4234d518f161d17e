"""What a name on the command line means."""

import pytest

from casvit_mm.benchmark.cost import count_parameters
from casvit_mm.benchmark.model_specs import find_model_spec
from casvit_mm.errors import InputError


def test_an_unknown_model_names_near_ones():
    with pytest.raises(InputError, match=r'near: .*repvit_m0_9'):
        find_model_spec('repvit_m09')


def test_parameters_are_counted_with_both_heads():
    pytest.importorskip('mmpretrain')
    assert count_parameters(find_model_spec('casvit_xs').build()) == 3_200_700
