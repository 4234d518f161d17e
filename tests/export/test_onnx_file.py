"""What is changed in a module before it becomes ONNX."""

import pytest

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
import onnx


def test_query_key_and_value_are_no_parts_of_one_map(written):
    graph = onnx.load(written('classification', 'onnx')[0]).graph
    kinds = [node.op_type for node in graph.node if '/token_mixer/' in node.name]
    assert kinds.count('Conv') > 0
    assert not {'Split', 'Slice'} & set(kinds)
