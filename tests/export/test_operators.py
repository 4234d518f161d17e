"""The operators of a delegate's parts are told from those that it leaves."""

import json

from casvit_mm.export.operators import split_by_delegate, write_operators


def operator(name, inputs, outputs):
    return dict(op_name=name, inputs=inputs, outputs=outputs)


# 0 -> CAST -> 1 -> CONV -> 2 -> RESIZE -> 3 -> ADD (3, 2) -> 4, RELU -> 5; weights are tensor 9.
GRAPH = [
    operator('CAST', [0], [1]),
    operator('CONV_2D', [1, 9], [2]),
    operator('RESIZE_NEAREST_NEIGHBOR', [2], [3]),
    operator('ADD', [3, 2], [4]),
    operator('RELU', [4], [5]),
]


def test_operators_between_the_parts_are_left():
    parts = [operator('DELEGATE', [1], [2]), operator('DELEGATE', [3, 2], [5])]
    number, within, outside = split_by_delegate(GRAPH + parts)
    assert number == 2
    assert within == dict(CONV_2D=1, ADD=1, RELU=1)
    assert outside == dict(CAST=1, RESIZE_NEAREST_NEIGHBOR=1)


def test_without_a_delegate_all_are_left():
    assert split_by_delegate(GRAPH)[0] == 0
    assert sum(split_by_delegate(GRAPH)[2].values()) == len(GRAPH)


def test_one_part_may_hold_all():
    number, within, outside = split_by_delegate([*GRAPH, operator('DELEGATE', [0], [5])])
    assert (number, sum(within.values()), sum(outside.values())) == (1, len(GRAPH), 0)


def test_the_list_is_written_beside_the_file(tmp_path):
    write_operators(tmp_path / 'a.pte', 'XNNPACK', 2, dict(mul=1, conv=7), dict(cast=1))
    content = json.loads((tmp_path / 'a.operators.json').read_text())
    assert content == dict(
        delegate='XNNPACK', parts=2, delegated=dict(conv=7, mul=1), left=dict(cast=1)
    )
    assert list(content['delegated']) == ['conv', 'mul']
