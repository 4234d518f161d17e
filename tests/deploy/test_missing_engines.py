"""An engine that is not installed."""

import sys

import pytest

from casvit_mm.deploy.engines import require
from casvit_mm.errors import InputError


@pytest.mark.parametrize('name', ['onnxruntime', 'openvino', 'onnx'])
def test_a_missing_engine_names_the_extra(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"{name} is not installed.*pip install '\.\[export\]'"):
        require(name, 'export')
