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

    def run(out='model', **options):
        def write(form, path):
            return export(*models['classification'], format=form, out=path, images=str(photos))

        return export_fastest(write, str(tmp_path / out), **options)

    return run


@pytest.mark.slow
@pytest.mark.parametrize('kept', ['onnx', 'openvino'])
def test_the_fastest_format_is_kept_alone(fastest, monkeypatch, tmp_path, kept):
    pytest.importorskip('openvino')
    times = dict(onnx=2.0, openvino=2.0) | {kept: 1.0}
    monkeypatch.setattr(fastest_format, '_time', lambda done: times)
    found = fastest()
    assert {path.suffix for path in tmp_path.iterdir()} == (
        {'.onnx'} if kept == 'onnx' else {'.xml', '.bin'}
    )
    assert found.exported.path == tmp_path / f'model{FORMATS[kept].suffix}'
    assert load(found.exported.path).spec.task == 'classification'
    assert f'fastest on this machine: {kept} 1.0 ms' in str(found)


@pytest.mark.slow
def test_every_engine_that_is_there_is_timed(fastest):
    pytest.importorskip('openvino')
    found = fastest().milliseconds
    assert set(found) == {'onnx', 'openvino'}
    assert all(0 < taken < 1000 for taken in found.values())


def test_what_no_engine_here_can_compute_is_not_timed(fastest):
    pytest.importorskip('openvino')
    assert set(fastest(precision='bf16').milliseconds) == {'openvino'}


def test_a_suffix_is_left_to_the_fastest(fastest, tmp_path):
    with pytest.raises(InputError, match=r'leave out \.onnx'):
        fastest('model.onnx')
    assert not list(tmp_path.iterdir())


def test_without_engines_there_is_no_fastest(fastest, monkeypatch):
    monkeypatch.setattr(fastest_format.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(InputError, match=r"none of the engines.*pip install '\.\[export\]'"):
        fastest()
