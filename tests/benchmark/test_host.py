"""The machine that is timed."""

import pytest
import torch

from casvit_mm.benchmark.host import check_device
from casvit_mm.errors import InputError


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(InputError, match=r'--device cuda: torch finds no GPU'):
        check_device('cuda')
