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
from casvit_mm.deploy.spec import KEY, Spec


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


SPEC = dict(
    task='classification',
    classes=['cat', 'dog'],
    steps=[
        dict(op='short_edge', size=256, interpolation='pillow-bicubic'),
        dict(op='center_crop', size=[224, 224]),
    ],
    mean=[1.0, 2.0, 3.0],
    std=[1.0, 2.0, 3.0],
    rgb=True,
    version=1,
)


def test_a_sound_description_is_read_as_it_was_written():
    spec = Spec.from_json(json.dumps(SPEC), 'a.onnx')
    assert Spec.from_json(spec.to_json(), 'a.onnx') == spec
    assert spec.classes == ('cat', 'dog')


LARGE = 10**12


@pytest.mark.parametrize(
    'text',
    [
        '{',
        '[' * 100_000,
        '[]',
        '1',
        '{"version": 1}',
        json.dumps(SPEC | dict(version=[1])),
        json.dumps(SPEC | dict(more=1)),
        json.dumps(SPEC).replace('256', '9' * 10_000),
        *(
            json.dumps(SPEC | {name: value})
            for name, value in [
                ('task', ['classification']),
                ('task', 'another'),
                ('classes', 'cat'),
                ('classes', [1, 2]),
                ('steps', None),
                ('steps', [None]),
                ('steps', [dict(op=['fit'])]),
                ('steps', [dict(op='turn')]),
                ('steps', [dict(op='fit')]),
                ('steps', [dict(op='fit', scale=[1, 2, 3], interpolation='bilinear')]),
                ('steps', [dict(op='fit', scale=[1, 2], interpolation='area')]),
                ('steps', [dict(op='short_edge', size=LARGE, interpolation='bilinear')]),
                ('steps', [dict(op='multiple', divisor=0, interpolation='bilinear')]),
                ('mean', [1, 2]),
                ('mean', [1, 2, float('nan')]),
                ('std', [1, 2, 0]),
                ('rgb', 1),
                ('size', [LARGE, LARGE]),
                ('size', [0, 4]),
                ('size', 4),
                ('least', LARGE),
                ('preprocess', 'nowhere'),
                ('precision', None),
                ('score_thr', '0.1'),
                ('score_thr', True),
                ('mask_thr', 2),
                ('label_thr', [1]),
                ('align_corners', None),
            ]
        ),
    ],
)
def test_a_damaged_description_is_refused(text):
    with pytest.raises(InputError, match=r'a\.onnx(:.* is damaged| has version)'):
        Spec.from_json(text, 'a.onnx')
