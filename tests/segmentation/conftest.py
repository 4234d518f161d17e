import pytest

from casvit_mm.datasets.shapes import generate_shape_labels


@pytest.fixture
def folder(tmp_path):
    """Generated images: 4 in train, 3 in val, 2 in test."""
    return generate_shape_labels(tmp_path, sizes=(4, 3, 2), side=64, seed=3).parent
