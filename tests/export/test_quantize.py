"""Eight-bit weights and activations."""

from functools import partial

import pytest
from helpers import TINY_ARCH, slow_after

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
import onnx

from casvit_mm import deploy

load = partial(deploy.load, trusted=True)


@pytest.mark.parametrize('form', ['onnx', 'openvino'])
@pytest.mark.parametrize('kind', slow_after(1, ['classification', 'segmentation']))
def test_eight_bits_are_calibrated_on_images(written, kind, form, photos):
    if form == 'openvino':
        pytest.importorskip('nncf')
    out, exported = written(kind, form, precision='int8', calibrate=str(photos))
    assert exported.comparison.agreement > 0.8
    assert exported.comparison.maximum > 1e-4  # something was rounded
    assert load(out).spec.precision == 'int8'


def eight_bit_convolutions(out):
    """Groups and name of each convolution of a file that computes in eight bits."""
    if out.suffix == '.onnx':
        graph = onnx.load(out).graph
        made_by = {name: node.op_type for node in graph.node for name in node.output}
        for node in graph.node:
            if node.op_type == 'Conv' and made_by.get(node.input[1]) == 'DequantizeLinear':
                yield next(each.i for each in node.attribute if each.name == 'group'), node.name
        return
    for node in pytest.importorskip('openvino').Core().read_model(out).get_ops():
        kind = node.get_type_name()
        if kind in ('Convolution', 'GroupConvolution'):
            source = node.input_value(0).get_node()
            if source.get_type_name() == 'FakeQuantize':
                yield 1 + (kind == 'GroupConvolution'), node.get_friendly_name()


@pytest.mark.parametrize('form', ['onnx', 'openvino'])
def test_eight_bits_are_for_what_computes_more_than_it_reads(written, form, photos):
    if form == 'openvino':
        pytest.importorskip('nncf')
    out, _ = written('classification', form, precision='int8', calibrate=str(photos))
    found = list(eight_bit_convolutions(out))
    blocks = sum(TINY_ARCH['depths'])
    assert sum('/mlp/fc' in name for _, name in found) == 2 * blocks
    assert sum('/token_mixer/' in name for _, name in found) == 3 * blocks  # query, key and value
    assert {groups for groups, _ in found} == {1}
    assert not [name for _, name in found if '/gate_' in name]
