"""The memory of a call."""

import pytest
import torch

from casvit_mm.models.memory import peak_of_call


def test_peak_memory_includes_what_a_call_frees_again():
    peak = peak_of_call(lambda: torch.ones(2**20).exp().sum(), 'cpu')
    assert peak == pytest.approx(2 * 4 * 2**20, rel=0.01)
