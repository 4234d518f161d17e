"""Core ML programs are written, and refused where Core ML lacks an operator."""

import json

import pytest

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
from casvit_mm import InputError


@pytest.mark.parametrize(
    ('kind', 'precision'),
    [
        pytest.param('classification', 'fp32', marks=pytest.mark.slow),
        ('classification', 'fp16'),
        pytest.param('retinanet', 'fp32', marks=pytest.mark.slow),
        pytest.param('retinanet', 'fp16', marks=pytest.mark.slow),
    ],
)
def test_a_core_ml_program_is_written_with_its_operators_and_marked(write, kind, precision):
    size = None if kind == 'classification' else '96x64'
    out, exported = write(kind, 'coreml', size=size, precision=precision)
    assert 'not executed' in str(exported)
    content = json.loads(out.with_suffix('.operators.json').read_text())
    assert content['executed'] is False
    assert content['operators']['conv'] > 10
    assert ('non_maximum_suppression' in content['operators']) == (kind == 'retinanet')


@pytest.mark.parametrize(
    ('kind', 'options', 'message'),
    [
        ('maskrcnn', dict(size='96x64'), 'no RoIAlign'),
        ('retinanet', {}, 'name it, as in --size 640x480'),
        ('retinanet', dict(dynamic=True), 'leave --dynamic out'),
        ('classification', dict(precision='int8', calibrate='.'), 'cannot be written in int8'),
    ],
)
def test_what_core_ml_cannot_express_is_refused(write, kind, options, message):
    with pytest.raises(InputError, match=message):
        write(kind, 'coreml', **options)
