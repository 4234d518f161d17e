"""Files that an engine opens, and files that are refused."""

import sys

import numpy as np
import pytest

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
from export_models import random_image

from casvit_mm import InputError
from casvit_mm.deploy import load
from casvit_mm.deploy.engines import EngineOptions, OnnxEngine, OpenVinoEngine, require


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('gone.onnx', 'does not exist'),
        ('model.engine', r'known are \.onnx, \.xml, \.pt2'),
        ('model.mlpackage', 'Apple devices'),
    ],
)
def test_a_file_that_cannot_be_run_is_refused(name, message, tmp_path):
    with pytest.raises(InputError, match=message):
        load(tmp_path / name)


def test_a_file_that_could_run_code_is_opened_only_on_request(tmp_path):
    # Not a file of ours: it fails as soon as it is read.
    (tmp_path / 'model.pt2').write_bytes(b'')
    with pytest.raises(InputError, match='could run code'):
        load(tmp_path / 'model.pt2')
    with pytest.raises(InputError, match='cannot be loaded'):
        load(tmp_path / 'model.pt2', trusted=True)


def test_a_file_cut_short_is_refused(classifier, tmp_path):
    path = tmp_path / 'short.onnx'
    path.write_bytes(classifier.read_bytes()[:-1000])
    with pytest.raises(InputError, match='cut short'):
        load(path)


def test_a_missing_half_of_a_pair_is_refused(tmp_path):
    (tmp_path / 'model.xml').write_text('<net/>')
    with pytest.raises(InputError, match=r'model\.bin does not exist'):
        load(tmp_path / 'model.xml')


@pytest.mark.parametrize('name', ['onnxruntime', 'openvino', 'onnx'])
def test_a_missing_engine_names_the_extra(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"{name} is not installed.*pip install '\.\[export\]'"):
        require(name, 'export')


def test_a_missing_engine_names_the_extra_to_install(classifier, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(InputError, match=r"onnxruntime is not installed.*'\.\[deploy\]'"):
        load(classifier)


def test_an_engine_tells_the_input_that_its_file_takes(classifier):
    (image,) = OnnxEngine(classifier, EngineOptions()).inputs
    assert (image.name, image.shape, image.type) == ('image', (1, 3, 128, 128), np.uint8)


@pytest.mark.parametrize('engine', [OnnxEngine, OpenVinoEngine])
def test_a_bound_call_computes_what_a_run_returns(engine, classifier):
    if engine is OpenVinoEngine:
        pytest.importorskip('openvino')
    opened = engine(classifier, EngineOptions(threads=1))  # OpenVINO reads ONNX, too
    image = random_image(128, 128).transpose(2, 0, 1)[None].copy()
    call = opened.bind(image)
    (scores,) = opened.run(image).values()
    found = call()
    np.testing.assert_array_equal(found[0], scores)


def test_a_precision_that_the_processor_lacks_is_refused_where_it_must_be_kept(classifier):
    pytest.importorskip('openvino')
    opened = OpenVinoEngine(classifier, EngineOptions(precision='bf16'))
    opened._computes_in = ['FP32', 'INT8']
    with pytest.raises(InputError, match=r'openvino\+bf16: this CPU computes only in FP32, INT8'):
        opened.check_precision()
    opened.precision = 'fp32'
    opened.check_precision()
