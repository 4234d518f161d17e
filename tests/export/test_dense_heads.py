"""Dense heads as graphs give what mmdet's own predict gives."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import slow_after

pytest.importorskip('mmdet')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
import onnx
from dense_detectors import HEADS, dense_detector
from detector_files import spec_of
from export_models import FORMS, random_image
from mmdet.structures import DetDataSample
from mmengine.config import Config

from casvit_mm import InputError
from casvit_mm.deploy.engines import open_engine
from casvit_mm.deploy.images import Resized
from casvit_mm.deploy.outputs import read_outputs
from casvit_mm.deploy.spec import Spec
from casvit_mm.export import FORMATS, build_graph, networks
from casvit_mm.export.detectors import check_heads, least_score, mask_stride
from casvit_mm.export.head_maps import outside_settings
from casvit_mm.export.reference import reference

EXPORTED = [kind for kind in HEADS if kind != 'paa']
SIZES = [(96, 160), (100, 130)]


def predicted(model, images):
    """What mmdet finds in images, each by itself: boxes, scores and labels."""
    found = []
    for image in images:
        size = tuple(image.shape[1:])
        meta = dict(ori_shape=size, img_shape=size, scale_factor=(1.0, 1.0))
        data = dict(inputs=[image], data_samples=[DetDataSample(metainfo=meta)])
        with torch.no_grad():
            one = model.test_step(data)[0].pred_instances
        found.append([one.bboxes.numpy(), one.scores.numpy(), one.labels.numpy()])
    return found


def graph_of(model):
    return build_graph(Config(), model, spec_of(model))


def write(model, form, folder, size=None):
    """Return the engine that has loaded a file of the model."""
    if FORMATS[form].no_detectors:
        pytest.skip(FORMATS[form].no_detectors)
    graph = graph_of(model)
    least = 1 if FORMATS[form].single_rows or size else graph.stride + 1
    spec = replace(spec_of(model), size=size, least=least)
    path = folder / f'model{FORMATS[form].suffix}'
    shape = (1, 3, *size) if size else (2, 3, 2 * graph.stride, 3 * graph.stride)
    FORMATS[form].write(graph, torch.randint(0, 256, shape, dtype=torch.uint8), spec, path)
    return open_engine(path, 1, trusted=True)


def in_order(boxes, scores, labels):
    order = np.lexsort((boxes[:, 0], labels, -scores.round(4)))
    return boxes[order], scores[order], labels[order]


def assert_same(model, outputs, images):
    count = 0
    for number, expected in enumerate(predicted(model, images)):
        real = outputs['labels'][number] >= 0
        found = [outputs[name][number][real] for name in ('boxes', 'scores', 'labels')]
        assert len(found[1]) == len(expected[1])
        for ours, theirs in zip(in_order(*found), in_order(*expected), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-3, rtol=1e-4)
        count += len(found[1])
    assert count > 5


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('kind', EXPORTED)
def test_a_graph_finds_what_mmdet_finds(kind, size):
    model = dense_detector(kind)
    images = torch.stack(
        [torch.from_numpy(random_image(*size, seed).transpose(2, 0, 1)) for seed in range(2)]
    )
    with torch.no_grad():
        outputs = {name: values.numpy() for name, values in graph_of(model)(images).items()}
    assert_same(model, outputs, images)


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('kind', slow_after(4, EXPORTED))  # the graphs of all are compared above
def test_a_file_of_open_size_finds_what_mmdet_finds(kind, form, tmp_path):
    model = dense_detector(kind, score_thr=0.4)
    images = torch.stack(
        [torch.from_numpy(random_image(160, 192, seed).transpose(2, 0, 1)) for seed in range(3)]
    )
    assert_same(model, write(model, form, tmp_path).run(images.numpy()), images)


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('kind', ['rtmdet', 'rtmdet-ins', 'yolox'])
def test_a_file_of_fixed_size_finds_what_mmdet_finds(kind, form, tmp_path):
    model = dense_detector(kind)
    images = torch.from_numpy(random_image(96, 160).transpose(2, 0, 1))[None]
    assert_same(model, write(model, form, tmp_path, (96, 160)).run(images.numpy()), images)


@pytest.mark.slow
def test_a_neck_that_torch_export_cannot_leave_open_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, '_doubles', lambda upsample: False)  # as if it did another thing
    with pytest.raises(InputError, match='Name a size, as in --size 640x480'):
        write(dense_detector('rtmdet'), 'torch-export', tmp_path)


def test_a_layer_that_torch_export_lacks_at_open_sizes_is_refused(tmp_path, monkeypatch):
    def fails(*args, **options):
        raise NotImplementedError  # as torch 2.4 of Semantic FPN

    monkeypatch.setattr('torch.export.export', fails)
    with pytest.raises(InputError, match='Name a size, as in --size 640x480'):
        write(dense_detector('rtmdet'), 'torch-export', tmp_path)


# Height and width by the same factor: mmdet 3.3 takes that of the width for both.
@pytest.mark.parametrize(('size', 'original'), [((96, 160), (72, 120)), ((100, 132), (75, 99))])
def test_masks_are_those_of_mmdet(size, original):
    model = dense_detector('rtmdet-ins')
    image = torch.from_numpy(random_image(*size).transpose(2, 0, 1))
    resized = Resized(random_image(*size), size, original)
    with torch.no_grad():
        outputs = {name: values.numpy() for name, values in graph_of(model)(image[None]).items()}
    spec = replace(spec_of(model), mask_stride=mask_stride(model))
    found = read_outputs(outputs, spec, resized)
    expected = reference(model, 'detection', resized)[1]
    assert len(expected.scores) == len(found.scores) > 5
    assert 0.05 < expected.masks.mean() < 0.95
    for number in range(len(found.scores)):
        (same,) = np.flatnonzero(np.abs(expected.boxes - found.boxes[number]).max(1) < 1e-2)[:1]
        assert (expected.masks[same] == found.masks[number]).mean() > 0.999


def test_a_score_with_a_factor_may_be_below_the_threshold():
    assert least_score(dense_detector('rtmdet')) == 0.3
    assert least_score(dense_detector('fcos')) == 0
    assert least_score(dense_detector('yolox')) == 0.3


@pytest.mark.parametrize('kind', EXPORTED)
def test_objects_chosen_outside_are_those_chosen_inside(kind):
    model = dense_detector(kind, nms_pre=30, max_per_img=40)
    image = random_image(100, 130)
    pixels = torch.from_numpy(image.transpose(2, 0, 1))[None]
    resized = Resized(image, (100, 130), (75, 101))
    spec = replace(spec_of(model), mask_stride=mask_stride(model))
    found = []
    for settings in (None, outside_settings(model)):
        spec = Spec.from_json(replace(spec, outside=settings).to_json(), 'model.onnx')
        with torch.no_grad():
            outputs = build_graph(Config(), model, spec)(pixels)
        outputs = {name: values.numpy() for name, values in outputs.items()}
        found.append(read_outputs(outputs, spec, resized))
    inside, outside = found
    assert len(inside.scores) == len(outside.scores) > 5
    np.testing.assert_allclose(outside.scores, inside.scores, atol=1e-5)
    np.testing.assert_allclose(outside.boxes, inside.boxes, atol=1e-3)
    np.testing.assert_array_equal(outside.labels, inside.labels)
    if inside.masks is not None:
        assert (outside.masks == inside.masks).mean() > 0.9999


def test_a_choice_outside_needs_no_operator_that_chooses(tmp_path):
    model = dense_detector('rtmdet')
    spec = replace(spec_of(model), size=(96, 160), outside=outside_settings(model))
    graph = build_graph(Config(), model, spec)
    example = torch.zeros(1, 3, 96, 160, dtype=torch.uint8)
    FORMATS['onnx'].write(graph, example, spec, tmp_path / 'model.onnx')
    operators = {node.op_type for node in onnx.load(tmp_path / 'model.onnx').graph.node}
    assert not operators & {'NonMaxSuppression', 'NonZero', 'TopK', 'GatherND'}


def test_places_that_the_description_does_not_count_are_refused():
    model = dense_detector('rtmdet')
    spec = replace(spec_of(model), outside=outside_settings(model))
    with torch.no_grad():
        outputs = build_graph(Config(), model, spec)(torch.zeros(1, 3, 96, 160))
    outputs = {name: values.numpy() for name, values in outputs.items()}
    image = random_image(96, 160)
    resized = Resized(image, (96, 160), (96, 160))
    assert read_outputs(outputs, spec, resized) is not None
    wrong = dict(few=outputs['logits16'][..., :-1], classes=outputs['logits16'][:, :2])
    for values in (*wrong.values(), None):
        changed = {name: array for name, array in outputs.items() if name != 'logits16'}
        changed |= {} if values is None else dict(logits16=values)
        with pytest.raises(InputError, match='not the places that its description counts'):
            read_outputs(changed, spec, resized)


def test_a_threshold_above_all_scores_leaves_no_object():
    graph = graph_of(dense_detector('rtmdet', score_thr=0.999))
    with torch.no_grad():
        outputs = graph(torch.zeros(2, 3, 64, 96, dtype=torch.uint8))
    assert (outputs['labels'] == -1).all()
    assert not outputs['scores'].any()


@pytest.mark.skipif(
    bool(FORMATS['torch-export'].no_detectors), reason=FORMATS['torch-export'].no_detectors
)
def test_a_program_of_torch_export_takes_an_image_without_an_object():
    graph = graph_of(dense_detector('rtmdet', score_thr=0.999))
    images = torch.zeros(1, 3, 64, 96, dtype=torch.uint8)
    with torch.no_grad():
        outputs = torch.export.export(graph, (images,)).module()(images)
    assert (outputs['labels'] == -1).all()


LIMITS = {
    'no threshold': dict(score_thr=0.0, nms_pre=30),
    'few per level': dict(nms_pre=7),
    'small objects': dict(min_bbox_size=20),
}


@pytest.mark.parametrize('case', LIMITS)
@pytest.mark.parametrize('kind', ['rtmdet', 'atss'])
def test_limits_are_those_of_mmdet(kind, case):
    model = dense_detector(kind, **LIMITS[case])
    images = torch.from_numpy(random_image(96, 160).transpose(2, 0, 1))[None]
    with torch.no_grad():
        outputs = {name: values.numpy() for name, values in graph_of(model)(images).items()}
    assert_same(model, outputs, images)


def test_a_head_that_finds_boxes_in_another_way_is_named():
    with pytest.raises(InputError, match='a head PAAHead cannot be exported'):
        check_heads(dense_detector('paa'))
