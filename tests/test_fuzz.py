"""Readers of what users bring raise InputErrors alone; ``python -m fuzz`` tries more."""

import pytest

pytest.importorskip('hypothesis')
pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
from fuzz.readers import READERS
from fuzz.run import try_reader


@pytest.mark.parametrize('name', READERS)
def test_damaged_input_is_refused(name, tmp_path):
    try_reader(READERS[name](tmp_path), 25)
