"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest
import torch
from helpers import TINY_ARCH

import casvit_mm  # noqa: F401  before mmdet: lends mmcv its operators
from casvit_mm.datasets.scan_memory import CACHE
from casvit_mm.datasets.shapes import generate_shapes
from casvit_mm.gpu_report.task import TESTS_ON


@pytest.fixture(scope='session', autouse=True)
def scan_cache(tmp_path_factory):
    """What is remembered of image files lies in a folder of the tests, and of their processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE, str(tmp_path_factory.mktemp('cache')))
        yield


@pytest.fixture
def gpu(monkeypatch) -> str:
    """Where a test marked ``gpu`` computes, in float32 as a CPU does; without a GPU it is skipped.

    The variable lets the CPU stand in, to try the test itself.
    """
    device = os.environ.get(TESTS_ON) or ('cuda' if torch.cuda.is_available() else None)
    if device is None:
        pytest.skip('needs a GPU')
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    return device


@pytest.fixture
def tiny_arch() -> dict:
    return TINY_ARCH


@pytest.fixture(scope='session')
def shapes(tmp_path_factory) -> Path:
    """The dataset.yaml of a very small generated set."""
    return generate_shapes(tmp_path_factory.mktemp('shapes'), sizes=(8, 4, 4), side=64, seed=1)
