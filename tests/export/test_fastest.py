"""The format whose engine is the fastest here."""

import pytest

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
from casvit_mm import InputError
from casvit_mm.deploy import load
from casvit_mm.export import export, export_fastest
from casvit_mm.export import fastest as fastest_format
from casvit_mm.export.formats import FORMATS


@pytest.fixture
def fastest(models, photos, tmp_path):
    """Export the classifier in every format to compare, into ``tmp_path``."""

    def run(out='model', *rest, **options):
        def write(form, path, precision):
            options = dict(precision=precision, images=str(photos), allow_error=1.0)
            if precision == 'int8':
                options['calibrate'] = str(photos)
            return export(*models['classification'], format=form, out=path, **options)

        return export_fastest(write, str(tmp_path / out), *rest, **options)

    return run


def measured(monkeypatch, **milliseconds):
    """Let files take a time by the start of their name, such as ``onnx_fp32``."""

    def times(done):
        names = [f'{one.path.suffix[1:]}_{one.spec.precision}' for one in done]
        return [milliseconds[name.replace('xml', 'openvino')] for name in names]

    monkeypatch.setattr(fastest_format, '_time', times)


@pytest.mark.slow
@pytest.mark.parametrize('kept', ['onnx', 'openvino'])
def test_the_fastest_format_is_kept_alone(fastest, monkeypatch, tmp_path, kept):
    pytest.importorskip('openvino')
    measured(monkeypatch, **(dict(onnx_fp32=2.0, openvino_fp32=2.0) | {f'{kept}_fp32': 1.0}))
    found = fastest()
    assert {path.suffix for path in tmp_path.iterdir()} == (
        {'.onnx'} if kept == 'onnx' else {'.xml', '.bin'}
    )
    assert found.exported.path == tmp_path / f'model{FORMATS[kept].suffix}'
    assert load(found.exported.path).spec.task == 'classification'
    assert f'measured on this machine:\n    {kept} fp32 1.0 ms' in str(found)


@pytest.mark.slow
def test_every_engine_that_is_there_is_timed(fastest):
    pytest.importorskip('openvino')
    found = fastest().candidates
    assert {one.name for one in found} == {'onnx fp32', 'openvino fp32'}
    assert all(0 < one.milliseconds < 1000 for one in found)


def test_what_no_engine_here_can_compute_is_not_timed(fastest):
    pytest.importorskip('openvino')
    assert [one.name for one in fastest('model', ['bf16']).candidates] == ['openvino bf16']


@pytest.mark.parametrize(('allowed', 'kept'), [(0.9, 'int8'), (0.001, 'fp32')])
def test_the_fastest_precision_within_the_error_is_kept(fastest, monkeypatch, allowed, kept):
    monkeypatch.setattr(fastest_format, '_FORMATS', ('onnx',))
    measured(monkeypatch, onnx_fp32=2.0, onnx_int8=1.0)
    found = fastest('model', ['fp32', 'int8'], allowed)
    assert load(found.exported.path).spec.precision == kept
    assert [one.allowed for one in found.candidates] == [kept == 'int8', True]
    assert ('more than is allowed' in str(found)) == (kept == 'fp32')


def test_nothing_is_kept_where_nothing_is_within_the_error(fastest, monkeypatch, tmp_path):
    monkeypatch.setattr(fastest_format, '_FORMATS', ('onnx',))
    measured(monkeypatch, onnx_int8=1.0)
    with pytest.raises(InputError, match=r'nothing is within it: onnx int8 1\.0 ms, differs by'):
        fastest('model', ['int8'], 1e-6)
    assert not list(tmp_path.iterdir())


def test_a_precision_that_the_processor_lacks_is_not_tried_beside_others(monkeypatch):
    pytest.importorskip('openvino')
    monkeypatch.setattr(fastest_format, 'openvino_precisions', lambda: ['FP32', 'INT8'])
    possible = fastest_format._possible
    assert not possible(FORMATS['openvino'], 'bf16', alone=False)
    assert possible(FORMATS['openvino'], 'bf16', alone=True)


def test_a_suffix_is_left_to_the_fastest(fastest, tmp_path):
    with pytest.raises(InputError, match=r'leave out \.onnx'):
        fastest('model.onnx')
    assert not list(tmp_path.iterdir())


def test_without_engines_there_is_no_fastest(fastest, monkeypatch):
    monkeypatch.setattr(fastest_format.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(InputError, match=r"none of the engines.*pip install '\.\[export\]'"):
        fastest()
