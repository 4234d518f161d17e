"""Files of each format compute what the model computes."""

import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from helpers import ROOT, slow_after

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
import onnx
import onnxruntime
from export_models import CLASSES, FORMS, random_image

from casvit_mm import InputError, deploy
from casvit_mm.deploy.spec import Spec
from casvit_mm.export import FORMATS
from casvit_mm.export.formats.torch_export import why_no_detectors

load = partial(deploy.load, trusted=True)
KINDS = ['maskrcnn', 'segformer', 'retinanet', 'segmentation']


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('kind', slow_after(2, KINDS))
def test_an_export_of_open_size_gives_the_results_of_the_mm_package(written, kind, form):
    out, exported = written(kind, form)
    assert exported.comparison.images == 3
    assert exported.comparison.agreement > 0.999
    assert exported.comparison.maximum < 1e-3
    assert kind.startswith('seg') or exported.comparison.objects > 3
    assert load(out).spec.size is None


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize(
    ('kind', 'size'),
    [
        ('classification', None),
        ('segmentation', '128x96'),
        ('upernet', '160x96'),  # whose pooling to 2x2 and 6x6 does not divide its map of 3x5
        ('maskrcnn', '128x96'),
    ],
)
def test_an_export_of_fixed_size_gives_the_results_of_the_mm_package(written, kind, size, form):
    options = {} if size is None else dict(size=size)
    out, exported = written(kind, form, **options)
    assert exported.comparison.agreement > 0.999
    assert exported.comparison.maximum < 1e-3
    width, height = (128, 128) if size is None else map(int, size.split('x'))
    assert load(out).spec.size == (height, width)


@pytest.mark.parametrize('form', FORMS)
def test_images_of_a_batch_do_not_disturb_each_other(written, form):
    predictor = load(written('maskrcnn', form)[0])
    batch = np.stack([random_image(96, 160, seed).transpose(2, 0, 1) for seed in range(3)])
    together = predictor.run(batch)
    for number, image in enumerate(batch):
        alone = predictor.run(image[None])
        for name, values in alone.items():
            np.testing.assert_allclose(values[0], together[name][number], atol=2e-3, err_msg=name)


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('kind', ['retinanet', 'maskrcnn'])
def test_places_without_an_object_have_score_0_and_label_minus_1(written, kind, form):
    predictor = load(written(kind, form)[0])
    outputs = predictor.run(np.zeros((1, 3, 160, 160), np.uint8))
    empty = outputs['scores'] == 0
    np.testing.assert_array_equal(outputs['labels'] == -1, empty)
    assert not outputs['boxes'][empty].any()
    assert empty.any()


@pytest.mark.slow
def test_a_side_that_torch_export_does_not_take_is_padded_or_refused(written, photos):
    predictor = load(written('retinanet', 'torch-export')[0])
    assert predictor.prepare(photos / '0.png').pixels.shape == (129, 129, 3)
    assert predictor.prepare(photos / '0.png').image_size == (72, 96)
    with pytest.raises(InputError, match='sides of 129 px or more, got 160x96'):
        predictor.run(np.zeros((1, 3, 96, 160), np.uint8))


def test_torch_export_of_an_old_torch_refuses_detectors_and_no_more():
    assert why_no_detectors('2.11.0+cu130') == ''
    old = replace(FORMATS['torch-export'], no_detectors=why_no_detectors('2.4.1+cpu'))
    spec = Spec('detection', ('a',), (), (0.0,) * 3, (1.0,) * 3, rgb=True)
    with pytest.raises(InputError, match=r'torch 2\.4\.1.*Take --format onnx, or --backbone'):
        old.refuse(spec, two_stages=False)
    old.refuse(replace(spec, task='backbone', classes=()), two_stages=False)


@pytest.mark.parametrize('form', FORMS)
def test_a_backbone_gives_a_feature_map_per_stage(written, form):
    out, exported = written('maskrcnn', form, backbone=True)
    assert exported.comparison.maximum < 1e-4
    outputs = load(out).run(np.zeros((2, 3, 64, 96), np.uint8))
    assert {name: values.shape for name, values in outputs.items()} == {
        'stride4': (2, 8, 16, 24),
        'stride8': (2, 12, 8, 12),
        'stride16': (2, 16, 4, 6),
        'stride32': (2, 20, 2, 3),
    }


@pytest.mark.parametrize(
    ('form', 'precision'),
    [
        ('onnx', 'fp16'),
        ('openvino', 'fp16'),
        ('openvino', 'bf16'),
        pytest.param('torch-export', 'bf16', marks=pytest.mark.slow),
    ],
)
def test_a_lower_precision_is_measured_and_said(written, form, precision):
    out, exported = written('segmentation', form, precision=precision)
    assert 0.9 < exported.comparison.agreement <= 1
    assert load(out).spec.precision == precision
    assert 'predictions agree to' in str(exported)


@pytest.mark.parametrize('kind', slow_after(1, ['retinanet', 'maskrcnn']))
def test_openvino_computes_boxes_in_float32_in_half_precision(written, kind):
    core = pytest.importorskip('openvino').Core()

    def kept(precision):
        # Random scores lie close together.
        out, _ = written(kind, 'openvino', precision=precision, allow_error=0.2)
        return {
            operator.get_friendly_name().rpartition('/body/')[2].partition('/')[0]
            for operator in core.read_model(out).get_ops()
            if any('recis' in key for key in operator.get_rt_info())  # its name differs by version
        }

    assert kept('fp16') >= {'candidates' if kind == 'retinanet' else 'decoder', 'suppress', 'boxes'}
    assert 'backbone' not in kept('fp16')
    assert kept('fp32') == set()


@pytest.mark.parametrize('machine', ['aarch64', 'x86_64'])
@pytest.mark.parametrize('precision', ['fp32', 'fp16'])
def test_half_precision_on_arm_is_without_onnxruntimes_faulty_layout(
    written, monkeypatch, machine, precision
):
    out, _ = written('classification', 'onnx', precision=precision)
    whole, left_out = onnxruntime.InferenceSession, []

    def session(*args, **options):
        left_out.extend(options.get('disabled_optimizers', []))
        return whole(*args, **options)

    monkeypatch.setattr(onnxruntime, 'InferenceSession', session)
    monkeypatch.setattr('platform.machine', lambda: machine)
    found = load(out)(random_image(96, 96))
    assert found.scores.sum() == pytest.approx(1, abs=1e-2)
    expected = ['NhwcTransformer'] if (machine, precision) == ('aarch64', 'fp16') else []
    assert left_out == expected


def test_half_precision_halves_the_file(written):
    def size(**options):
        model = onnx.load(written('classification', 'onnx', **options)[0])
        return sum(len(weight.raw_data) for weight in model.graph.initializer)

    assert size(precision='fp16') < 0.6 * size()


@pytest.mark.parametrize('form', FORMS)
def test_a_file_says_all_that_prediction_needs(written, form):
    spec = load(written('retinanet', form)[0]).spec
    assert (spec.task, spec.classes, spec.score_thr) == ('detection', CLASSES, 0.3)
    assert spec.rgb
    assert spec.steps == (dict(op='fit', scale=[96, 96], interpolation='bilinear'),)
    assert spec.mean == pytest.approx((123.675, 116.28, 103.53))


@pytest.mark.parametrize(
    ('form', 'package'),
    [
        ('onnx', 'onnxruntime'),
        ('onnx', 'onnx'),
        ('openvino', 'openvino'),
        ('coreml', 'coremltools'),
    ],
)
def test_a_missing_engine_names_the_extra_to_install(write, monkeypatch, form, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"{package} is not installed.*'\.\[export\]'"):
        write('classification', form)


def test_no_path_of_this_machine_is_in_the_file(written, tmp_path):
    content = written('classification', 'onnx')[0].read_bytes()
    assert str(ROOT).encode() not in content
    assert str(tmp_path).encode() not in content
