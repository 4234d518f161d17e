"""The rows of one run."""

import pytest
from benchmark_models import quick

from casvit_mm.benchmark import benchmark
from casvit_mm.benchmark.inputs import normalise, pixels
from casvit_mm.benchmark.model_specs import find_model_spec
from casvit_mm.errors import InputError


@pytest.mark.parametrize(
    ('file', 'message'), [('absent.onnx', 'does not exist'), ('model.pt', r'\.onnx and \.xml')]
)
def test_a_file_that_cannot_be_timed_is_refused(file, message):
    with pytest.raises(InputError, match=message):
        benchmark(quick(files=[file]))


def test_an_exported_file_is_timed_beside_the_model_it_is_from(configs, tmp_path):
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    from casvit_mm.export.onnx_file import trace_to_onnx

    spec = find_model_spec(configs['classifier'])
    trace_to_onnx(spec.build(), normalise(pixels(1, (32, 64))), tmp_path / 'tiny.onnx')
    options = dict(models=[configs['classifier']], files=[str(tmp_path / 'tiny.onnx')])
    result = benchmark(quick(**options, size=['64x32']))
    assert result['rows'][1]['than'] == 'classifier eager'
    assert (result['rows'][1]['width'], result['rows'][1]['height']) == (64, 32)
