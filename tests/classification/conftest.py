import shutil

import pytest

from casvit_mm.datasets.shapes import generate_shape_classes


@pytest.fixture
def folder(tmp_path):
    """Generated images: 6 in train, 6 in val, 3 in test."""
    return generate_shape_classes(tmp_path, sizes=(6, 6, 3), side=32, seed=3).parent


@pytest.fixture
def flat(folder):
    """The images of train once more in one folder, with names that tell nothing."""
    (folder / 'flat').mkdir()
    for i, path in enumerate(sorted((folder / 'train').rglob('*.png'))):
        shutil.copy(path, folder / 'flat' / f'{i}.png')
    return folder
