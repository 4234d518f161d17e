"""Fixtures of the benchmark's tests."""

import pytest
from benchmark_models import write_configs


@pytest.fixture(scope='session')
def configs(tmp_path_factory) -> dict[str, str]:
    """The files of a tiny classifier, detector and segmentor."""
    return write_configs(tmp_path_factory.mktemp('configs'))
