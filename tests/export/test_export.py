"""From a request to a file that is kept, or to a message."""

from functools import partial

import pytest
from mmengine.config import Config

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
from casvit_mm import InputError, deploy
from casvit_mm.deploy.predictor import size_steps
from casvit_mm.deploy.spec import Spec
from casvit_mm.export import compare as comparing
from casvit_mm.export import export
from casvit_mm.export.compare import Tolerance
from casvit_mm.export.export import _complete
from casvit_mm.export.formats import FORMATS
from casvit_mm.export.loading import Loaded

load = partial(deploy.load, trusted=True)


def test_a_classifier_has_the_size_of_its_crop_unless_it_is_left_open(written):
    assert load(written('classification', 'onnx')[0]).spec.size == (128, 128)
    assert load(written('classification', 'onnx', dynamic=True)[0]).spec.size is None


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


@pytest.mark.slow
def test_detectors_with_random_weights_need_not_keep_the_same_objects(
    models, photos, monkeypatch, tmp_path
):
    monkeypatch.setitem(comparing.TOLERANCES, 'fp32', Tolerance(difference=1e-4, agreement=1.1))
    config, checkpoint = models['retinanet']
    options = dict(format='onnx', out=str(tmp_path / 'model.onnx'), images=str(photos))
    assert 'random' in export(config, None, **options).note
    with pytest.raises(InputError, match='not accurate enough'):
        export(config, checkpoint, **options)


REFUSED = {
    'suffix': (dict(out='model.bin'), r'ends in \.onnx'),
    'folder': (dict(out='{tmp}/file/model.onnx'), 'cannot be written'),
    'precision': (dict(precision='bf16'), 'cannot be written in bf16'),
    'size': (dict(size='640'), 'width and height in pixels'),
    'large size': (dict(size='99999x99999'), 'no more than 268,435,456 pixels'),
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


def test_a_size_goes_before_the_padding_of_a_detectors_pipeline():
    fit = dict(op='fit', scale=[640, 640], interpolation='bilinear')
    pad = dict(op='pad', size=[640, 640], colour=[114] * 3)
    spec = Spec('detection', ('a',), (fit, pad), (0.0,) * 3, (1.0,) * 3, True)
    loaded = Loaded(Config(), object(), spec, '')
    open_size, named = (
        _complete(loaded, FORMATS['onnx'], size, False, 'inside', False, 'fp32')
        for size in (None, '640x480')
    )
    assert open_size.size == (640, 640)
    assert size_steps(open_size) == (fit, pad)
    assert named.size == (480, 640)
    assert [step['op'] for step in size_steps(named)] == ['letterbox']


@pytest.mark.parametrize(
    ('task', 'step', 'expected'),
    [
        ('backbone', dict(op='fit', scale=[640, 640], interpolation='bilinear'), 'letterbox'),
        ('backbone', dict(op='center_crop', size=[480, 640]), 'center_crop'),
        (
            'segmentation',
            dict(op='stretch', size=[480, 640], interpolation='bilinear'),
            'stretch',
        ),
    ],
)
def test_a_size_replaces_a_pipeline_whose_sizes_differ_and_no_other(task, step, expected):
    spec = Spec(task, ('a',), (step,), (0.0,) * 3, (1.0,) * 3, True, size=(480, 640))
    assert [step['op'] for step in size_steps(spec)] == [expected]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(allow_error=2.0), 'a share from 0 to 1'),
        (dict(allow_error=0.1, images=None), 'is not here to judge by.*--images FOLDER'),
    ],
)
def test_an_error_to_allow_needs_something_to_judge_by(write, options, message):
    with pytest.raises(InputError, match=message):
        write('classification', 'onnx', **options)


def test_an_error_cannot_be_allowed_for_random_weights(models, tmp_path):
    config, _ = models['classification']
    with pytest.raises(InputError, match='--allow-error needs a CKPT'):
        export(config, format='onnx', out=str(tmp_path / 'model.onnx'), allow_error=0.1)


def test_the_error_that_is_allowed_goes_before_that_of_the_precision(write, monkeypatch):
    monkeypatch.setitem(comparing.TOLERANCES, 'fp32', Tolerance(difference=-1, agreement=0))
    _, exported = write('classification', 'onnx', allow_error=0.01)
    assert exported.comparison.error <= 0.01
