"""Exported files compute what the model computes, or they are not kept."""

import json
import sys
from functools import partial

import numpy as np
import pytest
from helpers import ROOT, TINY_ARCH, run_command

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
import onnx
from export_models import CLASSES, random_image, write_model, write_photos
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from casvit_mm import InputError, deploy
from casvit_mm.export import compare as comparing
from casvit_mm.export import export, export_fastest, load_model
from casvit_mm.export import fastest as fastest_format
from casvit_mm.export.compare import Comparison, Tolerance, compare
from casvit_mm.export.formats import FORMATS
from casvit_mm.export.reference import reference

KINDS = ['classification', 'segmentation', 'retinanet', 'maskrcnn']
PACKAGES = dict(onnx='onnxruntime', openvino='openvino', coreml='coremltools')
# OpenVINO is tested below in lower precisions and as the fastest; all of it by make test-all.
FORMS = [
    'onnx',
    *(pytest.param(form, marks=pytest.mark.slow) for form in ('openvino', 'torch-export')),
]
SUFFIX = {name: kind.suffix for name, kind in FORMATS.items()}
load = partial(deploy.load, trusted=True)


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    """Config and checkpoint of each kind of model."""
    folder = tmp_path_factory.mktemp('models')
    return {kind: write_model(folder, kind) for kind in KINDS}


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """A folder of images whose sizes differ."""
    return write_photos(tmp_path_factory.mktemp('photos'))


@pytest.fixture
def write(models, photos, tmp_path):
    """Export one of the models and return the file and what was found."""

    def run(kind, form, **options):
        pytest.importorskip(PACKAGES.get(form, 'torch'))
        out = tmp_path / f'model{SUFFIX[form]}'
        options = dict(images=str(photos)) | options
        return out, export(*models[kind], format=form, out=str(out), **options)

    return run


@pytest.fixture(scope='module')
def written(models, photos, tmp_path_factory):
    """As ``write``, but what several tests ask for is exported once."""
    known = {}

    def run(kind, form, **options):
        pytest.importorskip(PACKAGES.get(form, 'torch'))
        key = (kind, form, *sorted(options.items()))
        if key not in known:
            out = tmp_path_factory.mktemp('file') / f'model{SUFFIX[form]}'
            found = export(*models[kind], format=form, out=str(out), images=str(photos), **options)
            known[key] = out, found
        return known[key]

    return run


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('kind', ['segmentation', 'retinanet', 'maskrcnn'])
def test_an_export_of_open_size_gives_the_results_of_the_mm_package(written, kind, form):
    out, exported = written(kind, form)
    assert exported.comparison.images == 3
    assert exported.comparison.agreement > 0.999
    assert exported.comparison.maximum < 1e-3
    assert kind == 'segmentation' or exported.comparison.objects > 3
    assert load(out).spec.size is None


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize(
    ('kind', 'size'), [('classification', None), ('segmentation', '128x96'), ('maskrcnn', '128x96')]
)
def test_an_export_of_fixed_size_gives_the_results_of_the_mm_package(written, kind, size, form):
    options = {} if size is None else dict(size=size)
    out, exported = written(kind, form, **options)
    assert exported.comparison.agreement > 0.999
    assert exported.comparison.maximum < 1e-3
    expected = (128, 128) if size is None else (96, 128)
    assert load(out).spec.size == expected


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


def test_average_precision_is_that_of_the_mm_package(written, models, photos):
    out, _ = written('maskrcnn', 'onnx')
    loaded = load_model(*models['maskrcnn'], None)
    predictor = load(out)
    ours, theirs, truth = [], [], []
    rng = np.random.default_rng(0)
    for number, file in enumerate(sorted(photos.iterdir())):
        ours += results_of(predictor(file), number)
        _, found = reference(loaded.model, 'detection', predictor.prepare(file))
        theirs += results_of(found, number)
        # Objects of about the half of what is found, a few pixels off.
        for entry in results_of(found, number)[::2]:
            x, y, w, h = entry['bbox'] + rng.normal(0, 2, 4)
            truth.append(dict(entry, bbox=[x, y, max(w, 4), max(h, 4)]))
    expected, got = (average_precision(truth, found) for found in (theirs, ours))
    assert 0.1 < expected < 0.9
    assert abs(expected - got) < 0.001


def results_of(found, image_id):
    return [
        dict(
            image_id=image_id,
            category_id=int(label),
            bbox=[box[0], box[1], box[2] - box[0], box[3] - box[1]],
            score=float(score),
        )
        for box, label, score in zip(found.boxes.tolist(), found.labels, found.scores)
    ]


def average_precision(truth, found):
    coco = COCO()
    coco.dataset = dict(
        images=[dict(id=i) for i in range(3)],
        categories=[dict(id=i) for i in range(len(CLASSES))],
        annotations=[
            dict(entry, id=i, iscrowd=0, area=entry['bbox'][2] * entry['bbox'][3])
            for i, entry in enumerate(truth, start=1)
        ],
    )
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(found), 'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[0]


@pytest.mark.parametrize('kind', ['classification', 'segmentation', 'retinanet'])
def test_preprocessing_outside_gives_the_same_results(written, kind, photos):
    inside, _ = written(kind, 'onnx')
    found = load(inside)(photos / '0.png')
    outside, _ = written(kind, 'onnx', preprocess='outside')
    same = load(outside)(photos / '0.png')
    for name in vars(found):
        value = getattr(found, name)
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(getattr(same, name), value, atol=1e-3)


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


@pytest.mark.parametrize('form', ['onnx', 'openvino'])
@pytest.mark.parametrize('kind', ['classification', 'segmentation'])
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


def test_query_key_and_value_are_no_parts_of_one_map(written):
    graph = onnx.load(written('classification', 'onnx')[0]).graph
    kinds = [node.op_type for node in graph.node if '/token_mixer/' in node.name]
    assert kinds.count('Conv') > 0
    assert not {'Split', 'Slice'} & set(kinds)


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


def test_a_classifier_has_the_size_of_its_crop_unless_it_is_left_open(written):
    assert load(written('classification', 'onnx')[0]).spec.size == (128, 128)
    assert load(written('classification', 'onnx', dynamic=True)[0]).spec.size is None


@pytest.mark.parametrize(
    ('kind', 'precision'),
    [
        ('classification', 'fp32'),
        ('classification', 'fp16'),
        pytest.param('retinanet', 'fp32', marks=pytest.mark.slow),
        pytest.param('retinanet', 'fp16', marks=pytest.mark.slow),
    ],
)
def test_a_core_ml_program_is_written_with_its_operators_and_marked(write, kind, precision):
    size = None if kind == 'classification' else '96x64'
    out, exported = write(kind, 'coreml', size=size, precision=precision)
    assert 'not executed' in str(exported)
    content = json.loads(out.with_suffix('.operators.json').read_text())
    assert content['executed'] is False
    assert content['operators']['conv'] > 10
    assert ('non_maximum_suppression' in content['operators']) == (kind == 'retinanet')


@pytest.fixture
def fastest(models, photos, tmp_path):
    """Export the classifier in every format to compare, into ``tmp_path``."""

    def run(out='model', **options):
        def write(form, path):
            return export(*models['classification'], format=form, out=path, images=str(photos))

        return export_fastest(write, str(tmp_path / out), **options)

    return run


@pytest.mark.slow
@pytest.mark.parametrize('kept', ['onnx', 'openvino'])
def test_the_fastest_format_is_kept_alone(fastest, monkeypatch, tmp_path, kept):
    pytest.importorskip('openvino')
    times = dict(onnx=2.0, openvino=2.0) | {kept: 1.0}
    monkeypatch.setattr(fastest_format, '_time', lambda done: times)
    found = fastest()
    assert {path.suffix for path in tmp_path.iterdir()} == (
        {'.onnx'} if kept == 'onnx' else {'.xml', '.bin'}
    )
    assert found.exported.path == tmp_path / f'model{SUFFIX[kept]}'
    assert load(found.exported.path).spec.task == 'classification'
    assert f'fastest on this machine: {kept} 1.0 ms' in str(found)


@pytest.mark.slow
def test_every_engine_that_is_there_is_timed(fastest):
    pytest.importorskip('openvino')
    found = fastest().milliseconds
    assert set(found) == {'onnx', 'openvino'}
    assert all(0 < taken < 1000 for taken in found.values())


def test_what_no_engine_here_can_compute_is_not_timed(fastest):
    pytest.importorskip('openvino')
    assert set(fastest(precision='bf16').milliseconds) == {'openvino'}


def test_a_suffix_is_left_to_the_fastest(fastest, tmp_path):
    with pytest.raises(InputError, match=r'leave out \.onnx'):
        fastest('model.onnx')
    assert not list(tmp_path.iterdir())


def test_without_engines_there_is_no_fastest(fastest, monkeypatch):
    monkeypatch.setattr(fastest_format.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(InputError, match=r"none of the engines.*pip install '\.\[export\]'"):
        fastest()


def test_without_data_generated_images_are_compared_on(write):
    _, exported = write('classification', 'onnx', images=None)
    assert exported.compared_on == 'generated shapes'


def test_a_file_that_disagrees_is_not_kept(write, monkeypatch, tmp_path):
    (tmp_path / 'model.onnx').write_text('old')
    monkeypatch.setitem(comparing.TOLERANCES, 'fp32', Tolerance(difference=-1, agreement=0))
    with pytest.raises(InputError, match='not accurate enough, so it was not kept'):
        write('classification', 'onnx')
    assert [path.name for path in tmp_path.iterdir()] == ['model.onnx']
    assert (tmp_path / 'model.onnx').read_text() == 'old'


def test_detectors_with_random_weights_need_not_keep_the_same_objects(
    models, photos, monkeypatch, tmp_path
):
    monkeypatch.setitem(comparing.TOLERANCES, 'fp32', Tolerance(difference=1e-4, agreement=1.1))
    config, checkpoint = models['retinanet']
    options = dict(format='onnx', out=str(tmp_path / 'model.onnx'), images=str(photos))
    assert 'random' in export(config, None, **options).note
    with pytest.raises(InputError, match='not accurate enough'):
        export(config, checkpoint, **options)


@pytest.mark.parametrize('change', ['shift', 'label', 'lost'])
def test_the_comparison_sees_a_wrong_detection(written, models, photos, monkeypatch, change):
    predictor = load(written('maskrcnn', 'onnx')[0])
    run = predictor.engine.run

    def wrong(image):
        outputs = run(image)
        if change == 'shift':
            outputs['boxes'][..., 0::2] += 1
        elif change == 'label':
            outputs['labels'][:, 0] = (outputs['labels'][:, 0] + 1) % len(CLASSES)
        else:
            outputs['labels'][:, 0] = -1
        return outputs

    monkeypatch.setattr(predictor.engine, 'run', wrong)
    model = load_model(*models['maskrcnn'], None).model
    found = compare(model, predictor, sorted(photos.iterdir()))
    assert found.agreement < 0.99
    with pytest.raises(InputError, match='not accurate enough'):
        found.check(comparing.TOLERANCES['fp32'], 'fp32')


def test_images_without_an_object_agree(written, models, photos):
    predictor = load(written('maskrcnn', 'onnx')[0], score_thr=1.0)
    model = load_model(*models['maskrcnn'], None).model
    model.roi_head.test_cfg.score_thr = 1.0
    found = compare(model, predictor, sorted(photos.iterdir()))
    assert (found.objects, found.agreement) == (0, 1.0)


def test_a_nan_is_no_agreement():
    found = Comparison(1, None, float('nan'), float('nan'), 1.0)
    with pytest.raises(InputError, match='not accurate enough'):
        found.check(Tolerance(1, 0), 'fp32')


REFUSED = {
    'suffix': (dict(out='model.bin'), r'ends in \.onnx'),
    'folder': (dict(out='{tmp}/file/model.onnx'), 'cannot be written'),
    'precision': (dict(precision='bf16'), 'cannot be written in bf16'),
    'size': (dict(size='640'), 'width and height in pixels'),
    'small size': (dict(size='16x640'), '32 or more'),
    'size of the pipeline': (dict(size='640x480'), 'gives every image 128x128'),
    'no calibration': (dict(precision='int8'), 'belong together'),
    'calibration without int8': (dict(calibrate='{tmp}'), 'belong together'),
    'empty calibration': (dict(precision='int8', calibrate='{tmp}/empty'), 'holds no image'),
    'missing calibration': (dict(precision='int8', calibrate='{tmp}/gone'), 'is no folder'),
    'empty images': (dict(images='{tmp}/empty'), 'holds no image'),
}


@pytest.mark.parametrize('case', REFUSED)
def test_what_cannot_work_is_refused(models, tmp_path, case):
    options, message = REFUSED[case]
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'file').write_text('')
    options = {key: value.format(tmp=tmp_path) for key, value in options.items()}
    options = dict(out=str(tmp_path / 'model.onnx'), format='onnx') | options
    with pytest.raises(InputError, match=message):
        export(*models['classification'], **options)
    assert not (tmp_path / 'model.onnx').exists()


@pytest.mark.parametrize(
    ('kind', 'options', 'message'),
    [
        ('maskrcnn', dict(size='96x64'), 'no RoIAlign'),
        ('retinanet', {}, 'name it, as in --size 640x480'),
        ('retinanet', dict(dynamic=True), 'leave --dynamic out'),
        ('classification', dict(precision='int8', calibrate='.'), 'cannot be written in int8'),
    ],
)
def test_what_core_ml_cannot_express_is_refused(write, kind, options, message):
    with pytest.raises(InputError, match=message):
        write(kind, 'coreml', **options)


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


CHANGES = {
    'windows': (
        'segmentation',
        {'model.test_cfg': dict(mode='slide', crop_size=(64, 64), stride=(32, 32))},
        'reads images by windows',
    ),
    'soft nms': (
        'retinanet',
        {'model.test_cfg.nms': dict(type='soft_nms', iou_threshold=0.5)},
        'plain nms',
    ),
    'softmax': (
        'retinanet',
        {'model.bbox_head.loss_cls': dict(_delete_=True, type='CrossEntropyLoss')},
        'a head RetinaHead cannot be exported',
    ),
    'pipeline': (
        'classification',
        {'test_dataloader.dataset.pipeline.1': dict(type='ResizeEdge', scale=9, edge='long')},
        'cannot describe the step',
    ),
    'grey': (
        'classification',
        {'test_dataloader.dataset.pipeline.0': dict(color_type='grayscale')},
        'reads images itself',
    ),
}


@pytest.mark.parametrize('case', CHANGES)
def test_a_model_that_cannot_be_expressed_is_refused(models, tmp_path, case):
    kind, changes, message = CHANGES[case]
    config, _ = models[kind]
    out = str(tmp_path / 'model.onnx')
    with pytest.raises(InputError, match=message):
        export(config, format='onnx', out=out, cfg_options=changes)


def test_no_path_of_this_machine_is_in_the_file(written, tmp_path):
    content = written('classification', 'onnx')[0].read_bytes()
    assert str(ROOT).encode() not in content
    assert str(tmp_path).encode() not in content


def test_the_command_line_prints_a_refusal_and_exits_with_2(models, tmp_path):
    config, checkpoint = models['classification']
    command = ['python', 'tools/export.py', config, checkpoint, '--format', 'onnx']
    done = run_command(*command, '--out', tmp_path / 'model.xml')
    assert done.returncode == 2
    assert done.stderr.strip().endswith('a file of --format onnx ends in .onnx')
