"""The description behind the content of a file is read again, and what is damaged is said."""

import zipfile

import numpy as np
import pytest

from casvit_mm import InputError, deploy
from casvit_mm.deploy.engines.attached import attach, read_attached
from casvit_mm.deploy.engines.executorch import ExecuTorchEngine, _check_versions
from casvit_mm.deploy.spec import Spec

SPEC = Spec('classification', ('a', 'b'), (), (0.0,) * 3, (1.0,) * 3, rgb=True, size=(64, 96))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'model.tflite'
    path.write_bytes(b'content')
    return path


def test_what_is_attached_is_read_and_the_content_stays(file):
    attach(file, SPEC, ('scores', 'more'))
    assert file.read_bytes().startswith(b'content')
    text, names = read_attached(file)
    assert Spec.from_json(text, file) == SPEC
    assert names == ('scores', 'more')


def test_a_file_of_another_maker_has_no_description(file):
    assert read_attached(file) == (None, None)
    with zipfile.ZipFile(file, 'a') as archive:
        archive.writestr('labels.txt', 'a\nb\n')
    assert read_attached(file) == (None, None)


@pytest.mark.parametrize('names', ['{}', '[1]', '[', '"' + 'x' * 2**25 + '"'])
def test_damaged_names_of_outputs_are_refused(file, names):
    with zipfile.ZipFile(file, 'a', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('casvit_mm.json', SPEC.to_json())
        archive.writestr('casvit_mm_outputs.json', names)
    with pytest.raises(ValueError, match=r'names|larger|Expecting'):
        read_attached(file)


@pytest.mark.parametrize('name', ['model.tflite', 'model.pte'])
def test_a_file_for_phones_is_known_by_its_ending(name):
    assert deploy.engines.is_exported(name)
    assert not deploy.engines.engine_of(name).executes


@pytest.mark.parametrize(
    ('executorch', 'torch', 'advice'),
    [
        ('1.5.1', '2.11.0+cpu', r'1\.5\.1 is built against torch 2\.14, here is 2\.11\.0'),
        ('1.3.1', '2.11.0', r"pip install 'executorch==1\.2\.\*'"),
        ('1.2.0', '2.4.1', r"pip install 'executorch==1\.0\.\*'"),
    ],
)
def test_an_executorch_of_another_torch_is_refused_by_name(executorch, torch, advice):
    with pytest.raises(InputError, match=advice):
        _check_versions(executorch, torch)


@pytest.mark.parametrize('torch', ['2.11.0', '2.12.0', '3.0.0'])
def test_an_executorch_of_this_torch_is_taken(torch):
    _check_versions('1.2.0', torch)


def test_executorch_beside_numpy_1_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(np, '__version__', '1.26.4')
    with pytest.raises(InputError, match=r'needs NumPy 2, here is 1\.26\.4.*--format litert'):
        ExecuTorchEngine.check()
