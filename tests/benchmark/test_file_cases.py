"""Files of any maker as networks, and files of ours from pixels to results."""

import pytest
from benchmark_models import quick

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
import onnx
from onnx import TensorProto, helper

from casvit_mm.benchmark import benchmark
from casvit_mm.benchmark.inputs import normalise, pixels
from casvit_mm.benchmark.model_specs import find_model_spec
from casvit_mm.errors import InputError
from casvit_mm.export.onnx_file import trace_to_onnx

FLOAT, INT64, UINT8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8


def write_foreign(path, **inputs):
    """Write a file that hands its inputs through, each given as (type, shape)."""
    nodes = [helper.make_node('Identity', [name], [f'{name}_out']) for name in inputs]
    ends = [
        [helper.make_tensor_value_info(name + end, *kind) for name, kind in inputs.items()]
        for end in ('', '_out')
    ]
    graph = helper.make_graph(nodes, 'foreign', *ends)
    opsets = [helper.make_opsetid('', 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return str(path)


def rows(**options):
    return [
        (row['width'], row['height'], row['batch']) for row in benchmark(quick(**options))['rows']
    ]


@pytest.mark.parametrize(
    ('file', 'message'),
    [('absent.onnx', 'does not exist'), ('model.pt', r'known are \.onnx, \.xml')],
)
def test_a_file_that_cannot_be_timed_is_refused(file, message):
    with pytest.raises(InputError, match=message):
        benchmark(quick(files=[file]))


def test_an_exported_file_is_timed_beside_the_model_it_is_from(configs, tmp_path):
    spec = find_model_spec(configs['classifier'])
    trace_to_onnx(spec.build(), normalise(pixels(1, (32, 64))), tmp_path / 'tiny.onnx')
    options = dict(models=[configs['classifier']], files=[str(tmp_path / 'tiny.onnx')])
    result = benchmark(quick(**options, size=['64x32']))
    assert result['rows'][1]['than'] == 'classifier eager'
    assert (result['rows'][1]['width'], result['rows'][1]['height']) == (64, 32)


@pytest.mark.parametrize('engine', ['onnxruntime', 'openvino'])
def test_open_axes_of_any_makers_file_take_size_and_batch(engine, tmp_path):
    pytest.importorskip(engine)
    shape = ['batch', 3, 'height', 'width']
    file = write_foreign(
        tmp_path / 'detr.onnx', images=(FLOAT, shape), orig_target_sizes=(INT64, ['batch', 2])
    )
    if engine == 'openvino':
        import openvino

        openvino.save_model(openvino.convert_model(file), tmp_path / 'detr.xml')
        file = str(tmp_path / 'detr.xml')
    assert rows(files=[file], size=['64x32'], batch=[2]) == [(64, 32, 2)]


def test_a_fixed_size_goes_before_the_one_asked_for_and_channels_may_come_last(tmp_path):
    file = write_foreign(tmp_path / 'keras.onnx', picture=(UINT8, [1, 48, 40, 3]))
    assert rows(files=[file], size=['64x32']) == [(40, 48, 1)]


@pytest.mark.parametrize(
    'inputs',
    [
        dict(images=(FLOAT, [1, 3, 32, 32]), iou_threshold=(FLOAT, [1])),
        dict(left=(FLOAT, [1, 3, 32, 32]), right=(FLOAT, [1, 3, 32, 32])),
        dict(tokens=(INT64, [1, 77])),
    ],
)
def test_a_file_that_cannot_be_fed_is_refused_with_its_inputs(inputs, tmp_path):
    file = write_foreign(tmp_path / 'foreign.onnx', **inputs)
    with pytest.raises(InputError, match='cannot be fed, it takes ') as refused:
        benchmark(quick(files=[file]))
    assert all(name in str(refused.value) for name in inputs)


def test_a_size_that_a_file_does_not_take_is_refused_with_its_inputs(tmp_path):
    shape = [1, 3, 'height', 'width']
    image, out = (helper.make_tensor_value_info(name, FLOAT, shape) for name in ('image', 'out'))
    other = helper.make_tensor('other', FLOAT, [1, 3, 32, 32], [0.0] * 3072)
    node = helper.make_node('Add', ['image', 'other'], ['out'])
    graph = helper.make_graph([node], 'fixed', [image], [out], [other])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    onnx.save(model, tmp_path / 'fixed.onnx')
    with pytest.raises(InputError, match=r'64x64 pixels; it takes image float32 \(1, 3, \?, \?\)'):
        benchmark(quick(files=[str(tmp_path / 'fixed.onnx')], size=['64']))


def test_a_model_is_timed_from_pixels_to_results_beside_its_network(configs, tmp_path):
    pytest.importorskip('mmseg')
    from casvit_mm.export import export

    file = str(tmp_path / 'model.onnx')
    export(configs['segmentor'], format='onnx', out=file, size='64x32')
    network, whole = benchmark(quick(files=[file], predict=[file], size=['64x32']))['rows']
    assert (network['form'], whole['form']) == ('onnxruntime', 'predict, onnxruntime')
    assert whole['than'] == 'model.onnx onnxruntime'


def test_what_holds_no_description_cannot_predict(tmp_path):
    file = write_foreign(tmp_path / 'foreign.onnx', images=(FLOAT, [1, 3, 32, 32]))
    with pytest.raises(InputError, match='did not write it'):
        benchmark(quick(predict=[file]))
