"""Fixtures of the tests of visualization."""

import cv2
import numpy as np
import pytest
from export_models import CONFIGS, write_model


@pytest.fixture(scope='session')
def written(tmp_path_factory) -> dict[str, tuple[str, str]]:
    folder = tmp_path_factory.mktemp('models')
    return {kind: write_model(folder, kind) for kind in CONFIGS}


@pytest.fixture(scope='session')
def photo(tmp_path_factory) -> str:
    """An image whose sides differ and are no multiples of a stride."""
    path = tmp_path_factory.mktemp('photos') / 'a.jpg'
    values = np.random.RandomState(0).randint(0, 255, (7, 9, 3)).astype(np.uint8)
    cv2.imwrite(str(path), cv2.resize(values, (150, 110)))
    return str(path)
