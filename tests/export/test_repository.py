"""Model repositories, held to the documented layouts of their servers."""

import json
import re

import onnx
import pytest
from export_models import export_onnx, write_photos

pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')

from casvit_mm import InputError, deploy
from casvit_mm.deploy import Spec
from casvit_mm.export.repository import write_repository


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    photos = write_photos(tmp_path_factory.mktemp('photos'))
    return export_onnx('classification', tmp_path_factory.mktemp('classification'), photos)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def test_each_server_has_its_layout(exported, tmp_path):
    versions = write_repository(exported, tmp_path)
    assert files(tmp_path) == [
        'openvino/config.json',
        'openvino/model/1/model.onnx',
        'triton/model/1/model.onnx',
        'triton/model/config.pbtxt',
    ]
    for version in versions:
        assert (version / 'model.onnx').read_bytes() == exported.read_bytes()
        assert deploy.load(version / 'model.onnx').task == 'classification'


def test_triton_is_told_of_tensors_and_of_the_description(exported, tmp_path):
    write_repository(exported, tmp_path)
    *lines, last = (tmp_path / 'triton/model/config.pbtxt').read_text().splitlines()
    height, width = deploy.load(exported).spec.size
    assert lines == [
        'name: "model"',
        'backend: "onnxruntime"',
        'max_batch_size: 0',
        'input [',
        f'  {{ name: "image" data_type: TYPE_UINT8 dims: [ 1, 3, {height}, {width} ] }}',
        ']',
        'output [',
        '  { name: "scores" data_type: TYPE_FP32 dims: [ 1, 3 ] }',
        ']',
    ]
    text = re.fullmatch(r'parameters \{ key: "casvit_mm" value: \{ string_value: (.+) \} \}', last)
    assert Spec.from_json(json.loads(text[1]), 'config') == deploy.load(exported).spec


def test_triton_reads_it(exported, tmp_path):
    reason = "Triton's form of a config: pip install tritonclient[grpc]"
    form = pytest.importorskip('tritonclient.grpc.model_config_pb2', reason=reason)
    from google.protobuf import text_format

    write_repository(exported, tmp_path)
    text = (tmp_path / 'triton/model/config.pbtxt').read_text()
    config = text_format.Parse(text, form.ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ('model', 'onnxruntime', 0)
    assert list(config.output[0].dims) == [1, 3]
    told = Spec.from_json(config.parameters['casvit_mm'].string_value, 'config')
    assert told == deploy.load(exported).spec


def test_the_next_one_is_the_next_version_and_other_models_stay(exported, tmp_path):
    other = tmp_path / 'other one.onnx'
    other.write_bytes(exported.read_bytes())
    folder = tmp_path / 'repository'
    for path in (other, exported, exported):
        versions = write_repository(path, folder)
    assert [version.name for version in versions] == ['2', '2']
    content = json.loads((folder / 'openvino/config.json').read_text())
    assert content == {
        'model_config_list': [
            {'config': {'name': 'other_one', 'base_path': 'other_one'}},
            {'config': {'name': 'model', 'base_path': 'model'}},
        ]
    }
    for one in content['model_config_list']:
        assert (folder / 'openvino' / one['config']['base_path'] / '1/model.onnx').is_file()


def test_open_sizes_are_minus_one(tmp_path):
    value = onnx.helper.make_tensor_value_info
    image = value('image', onnx.TensorProto.UINT8, ['batch', 3, 'height', 'width'])
    out = value('scores', onnx.TensorProto.UINT8, ['batch', 3, 'height', 'width'])
    node = onnx.helper.make_node('Identity', ['image'], ['scores'])
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], 'g', [image], [out]),
        opset_imports=[onnx.helper.make_opsetid('', 17)],
        ir_version=9,
    )
    spec = Spec('classification', ('a',), (), (0, 0, 0), (1, 1, 1), rgb=False)
    onnx.helper.set_model_props(model, {'casvit_mm': spec.to_json()})
    onnx.save(model, str(tmp_path / 'open.onnx'))
    write_repository(tmp_path / 'open.onnx', tmp_path)
    text = (tmp_path / 'triton/open/config.pbtxt').read_text()
    assert text.count('TYPE_UINT8 dims: [ -1, 3, -1, -1 ]') == 2


def test_an_openvino_file_has_its_weights_beside_it(exported, tmp_path):
    openvino = pytest.importorskip('openvino')
    model = openvino.Core().read_model(exported)
    model.set_rt_info(deploy.load(exported).spec.to_json(), 'casvit_mm')
    openvino.save_model(model, tmp_path / 'net.xml')
    write_repository(tmp_path / 'net.xml', tmp_path / 'r')
    assert files(tmp_path / 'r/triton/net/1') == ['model.bin', 'model.xml']
    text = (tmp_path / 'r/triton/net/config.pbtxt').read_text()
    assert 'backend: "openvino"' in text
    assert '{ name: "scores" data_type: TYPE_FP32 dims: [ 1, 3 ] }' in text
    assert deploy.load(tmp_path / 'r/openvino/net/1/model.xml').task == 'classification'


def test_what_no_such_server_takes_is_refused(exported, tmp_path):
    with pytest.raises(InputError, match='--format onnx or openvino'):
        write_repository('model.pt2', tmp_path)
    (tmp_path / 'openvino').mkdir()
    (tmp_path / 'openvino/config.json').write_text('{}')
    with pytest.raises(InputError, match='no list of models'):
        write_repository(exported, tmp_path)
    assert files(tmp_path) == ['openvino/config.json']
