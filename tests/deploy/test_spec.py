"""What an exported file says of itself."""

import json

import pytest

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
import onnx

from casvit_mm import InputError
from casvit_mm.deploy import load
from casvit_mm.deploy.spec import KEY


def change_spec(source, target, change):
    model = onnx.load(source)
    (entry,) = [entry for entry in model.metadata_props if entry.key == KEY]
    entry.value = change(entry.value)
    onnx.save(model, target)
    return target


def test_a_file_of_another_tool_is_refused(classifier, tmp_path):
    path = change_spec(classifier, tmp_path / 'foreign.onnx', lambda text: '')
    with pytest.raises(InputError, match='does not say how to use it'):
        load(path)


def test_a_file_of_a_newer_version_is_refused(classifier, tmp_path):
    newer = change_spec(
        classifier,
        tmp_path / 'newer.onnx',
        lambda text: json.dumps(json.loads(text) | dict(version=2, more=1)),
    )
    with pytest.raises(InputError, match='has version 2 of the description'):
        load(newer)
