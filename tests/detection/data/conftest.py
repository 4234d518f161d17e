"""Detection datasets that tests may spoil."""

import shutil
from pathlib import Path

import pytest

from casvit_mm.datasets.shapes import generate_shapes


@pytest.fixture(scope='session')
def clean(tmp_path_factory):
    """A generated set without issues."""
    return generate_shapes(tmp_path_factory.mktemp('clean'), sizes=(24, 6, 6), side=64, seed=3)


@pytest.fixture
def folder(clean, tmp_path):
    """A copy of it that may be spoilt."""
    return Path(shutil.copytree(clean.parent, tmp_path / 'data'))
