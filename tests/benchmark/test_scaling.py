"""How time and memory grow with the size of the image."""

import pytest
from benchmark_models import quick

from casvit_mm.benchmark import benchmark, scaling
from casvit_mm.benchmark.scaling import exponent


def test_the_exponent_is_that_of_the_pixels():
    sizes = [(512, 512), (1024, 768), (2048, 2048)]
    values = [3 * (height * width) ** 1.25 for height, width in sizes]
    assert exponent(sizes, values) == pytest.approx(1.25)


def test_small_pictures_do_not_bend_the_exponent():
    sizes = [(64, 64), (512, 512), (1024, 1024)]
    assert exponent(sizes, [7.0, 1.0, 4.0]) == pytest.approx(1.0)


def test_time_and_memory_are_measured_for_each_size(configs, monkeypatch, tmp_path):
    monkeypatch.setattr(scaling, 'peak_of_call', lambda call, device: call()[0].shape[-1] ** 2)
    sizes = ['544', '512', '64']
    options = dict(models=[configs['classifier']], part='backbone', sizes=sizes)
    (curve,) = benchmark(quick(**options, out=str(tmp_path)))['curves']
    assert curve['bytes'] == [17**2, 16**2, 2**2]  # in the order given
    assert (tmp_path / 'growth.png').stat().st_size > 0
