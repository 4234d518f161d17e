"""What the tests of serving need."""

import cv2
import numpy as np
import pytest

for package in ('fastapi', 'uvicorn', 'python_multipart', 'prometheus_client', 'httpx2'):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[serve,test]'")


@pytest.fixture(scope='session')
def photo():
    """The bytes of a PNG of 24 x 16 pixels."""
    pixels = np.random.default_rng(0).integers(0, 200, (16, 24, 3), np.uint8)
    return cv2.imencode('.png', pixels)[1].tobytes()
