"""The run-time of exported files: the pixels and results of the mm packages, without them."""

import json
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from helpers import ROOT
from PIL import Image

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
import onnx
from export_models import CLASSES, random_image, write_model, write_photos
from mmcv.transforms import Compose
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch.nn import functional as F

import casvit_mm
from casvit_mm import InputError
from casvit_mm.datasets import images as training_images
from casvit_mm.deploy import Classification, Detections, load, read_image
from casvit_mm.deploy.images import Resized, as_bgr, resize
from casvit_mm.deploy.results import read_outputs
from casvit_mm.deploy.spec import KEY, Spec
from casvit_mm.export import export
from casvit_mm.export.loading import _steps

SPEC = Spec('detection', CLASSES, (), (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), True)


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp('photos'))


def export_onnx(kind, folder, photos):
    config, checkpoint = write_model(folder, kind)
    path = folder / 'model.onnx'
    export(config, checkpoint, format='onnx', out=str(path), images=str(photos))
    return path


@pytest.fixture(scope='module')
def classifier(tmp_path_factory, photos):
    return export_onnx('classification', tmp_path_factory.mktemp('classifier'), photos)


@pytest.fixture(scope='module')
def detector(tmp_path_factory, photos):
    return export_onnx('maskrcnn', tmp_path_factory.mktemp('detector'), photos)


@pytest.mark.parametrize('method', ['bilinear', 'bicubic'])
@pytest.mark.parametrize('size', [(31, 47), (200, 33), (120, 180), (240, 194)])
def test_resizing_as_pillow_gives_its_very_bits(method, size):
    image = random_image(120, 97)
    step = dict(op='stretch', size=size, interpolation=f'pillow-{method}')
    filters = dict(bilinear=Image.Resampling.BILINEAR, bicubic=Image.Resampling.BICUBIC)
    expected = Image.fromarray(image).resize(size[::-1], filters[method])
    np.testing.assert_array_equal(resize(image, [step], (0, 0, 0)).pixels, np.asarray(expected))


def test_a_side_that_shrinks_beside_one_that_grows_is_within_two_levels_of_pillow():
    # Pillow 13 begins with the side that shrinks, older ones with the rows.
    image = random_image(120, 97)
    found = resize(image, [dict(op='stretch', size=(7, 301), interpolation='pillow-bicubic')], ())
    expected = np.asarray(Image.fromarray(image).resize((301, 7), Image.Resampling.BICUBIC))
    assert np.abs(found.pixels.astype(int) - expected).max() <= 2


@pytest.mark.parametrize(
    'config',
    [
        'maskrcnn_casvit_xs_coco',
        'retinanet_casvit_xs_light',
        'semfpn_casvit_xs_ade20k',
        'semfpn_casvit_xs_shapes',
        'casvit_xs_imagenet',
        'casvit_xs_imagenet_ft384',
    ],
)
@pytest.mark.parametrize('size', [(90, 121), (333, 200)])
def test_pixels_are_those_of_the_test_pipeline(config, size):
    cfg = Config.fromfile(ROOT / f'configs/{config}.py')
    init_default_scope(cfg.default_scope)
    image = random_image(*size)
    pipeline = [
        step
        for step in cfg.test_dataloader.dataset.pipeline
        if not step.type.startswith(('Load', 'Pack'))
    ]
    expected = Compose(pipeline)(dict(img=image, img_shape=size, ori_shape=size))['img']
    np.testing.assert_array_equal(resize(image, _steps(cfg), (0, 0, 0)).pixels, expected)


def test_a_fixed_size_keeps_the_ratio_and_pads_with_the_mean():
    step = dict(op='letterbox', size=(64, 96), interpolation='bilinear')
    resized = resize(np.full((100, 100, 3), 9, np.uint8), [step], (1, 2, 3))
    assert resized.pixels.shape == (64, 96, 3)
    assert resized.image_size == (64, 64)
    assert (resized.pixels[:, :64] == 9).all()
    assert (resized.pixels[:, 64:] == (1, 2, 3)).all()


@pytest.mark.parametrize('mode', ['L', 'P', 'RGBA', 'I;16', 'CMYK'])
def test_files_are_read_as_in_training(mode, tmp_path):
    colours = Image.fromarray(random_image(20, 30)[..., ::-1].copy())
    if mode == 'I;16':
        values = np.asarray(colours.convert('L')).astype(np.uint16) * 257
        image = Image.fromarray(values)
    else:
        image = colours.convert(mode)
    path = tmp_path / ('a.jpg' if mode == 'CMYK' else 'a.png')
    image.save(path)
    np.testing.assert_array_equal(read_image(path), training_images.read_image(path))


@pytest.mark.parametrize('kind', ['grey', 'alpha', '16 bit'])
def test_arrays_become_what_their_files_become(kind, tmp_path):
    image = random_image(20, 30)
    if kind == 'grey':
        image = image[..., 0]
    elif kind == 'alpha':
        image = np.dstack([image, image[..., 0]])
    else:
        image = image.astype(np.uint16) * 256 + 77
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    np.testing.assert_array_equal(as_bgr(image), read_image(tmp_path / 'a.png'))


@pytest.mark.parametrize(
    'image',
    [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8)],
)
def test_an_array_that_is_no_image_is_refused(image):
    with pytest.raises(InputError, match='an image must'):
        as_bgr(image)


def test_masks_are_pasted_as_mmdet_pastes_them():
    rng = np.random.default_rng(0)
    corners = rng.uniform(-10, 80, (20, 2, 2)).astype(np.float32)
    boxes = np.concatenate([corners.min(1), corners.max(1)], 1)
    boxes[:, 0::2], boxes[:, 1::2] = boxes[:, 0::2].clip(0, 70), boxes[:, 1::2].clip(0, 50)
    small = rng.uniform(0, 1, (20, 28, 28)).astype(np.float32)
    outputs = dict(
        boxes=boxes[None],
        scores=np.ones((1, 20), np.float32),
        labels=np.zeros((1, 20), np.int64),
        masks=small[None],
    )
    same_size = Resized(np.zeros((50, 70, 3), np.uint8), (50, 70), (50, 70))
    found = read_outputs(outputs, SPEC, same_size)
    for box, mask, full in zip(boxes, small, found.masks):
        expected, place = _do_paste_mask(
            torch.from_numpy(mask)[None, None], torch.from_numpy(box)[None], 50, 70
        )
        whole = np.zeros((1, 50, 70), bool)
        whole[(slice(None), *place)] = (expected >= 0.5).numpy()
        np.testing.assert_array_equal(full, whole[0])


@pytest.mark.parametrize('align_corners', [False, True])
def test_label_maps_are_enlarged_as_mmseg_enlarges_them(align_corners):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1, 20, 8, 12)).astype(np.float32)
    spec = replace(SPEC, task='segmentation', align_corners=align_corners)
    resized = Resized(np.zeros((32, 48, 3), np.uint8), (32, 48), (50, 77))
    found = read_outputs({'logits': logits}, spec, resized)
    enlarged = torch.from_numpy(logits)
    for size in ((32, 48), (50, 77)):
        enlarged = F.interpolate(enlarged, size, mode='bilinear', align_corners=align_corners)
    assert (found.labels == enlarged[0].argmax(0).numpy()).mean() > 0.999


def test_a_single_output_is_a_class_above_its_threshold():
    spec = replace(SPEC, task='segmentation', label_thr=0.3)
    logits = np.array([[[[-2.0, -0.5], [0.0, 3.0]]]], np.float32)
    resized = Resized(np.zeros((2, 2, 3), np.uint8), (2, 2), (2, 2))
    labels = read_outputs({'logits': logits}, spec, resized).labels
    np.testing.assert_array_equal(labels, [[0, 1], [1, 1]])


def test_a_detection_lies_in_pixels_of_the_image(detector, photos):
    found = load(detector)(photos / '0.png')
    assert isinstance(found, Detections)
    assert found.masks.shape == (len(found.boxes), 90, 120)
    assert found.masks.dtype == bool
    assert len(found.scores) > 0
    assert (found.boxes >= 0).all()
    assert (found.boxes <= (120, 90, 120, 90)).all()
    assert (np.diff(found.scores) <= 0).all()
    assert found.names == tuple(CLASSES[label] for label in found.labels)


def test_a_higher_threshold_leaves_out_the_rest(detector, photos):
    every = load(detector)(photos / '0.png')
    limit = float(np.median(every.scores))
    some = load(detector, score_thr=limit)(photos / '0.png')
    np.testing.assert_array_equal(some.scores, every.scores[every.scores > limit])


def test_a_file_and_its_pixels_give_the_same(classifier, photos):
    predictor = load(classifier, threads=1)
    from_file = predictor(photos / '0.png')
    assert isinstance(from_file, Classification)
    assert set(from_file.names) == set(CLASSES)
    np.testing.assert_array_equal(
        from_file.scores, predictor(cv2.imread(str(photos / '0.png'))).scores
    )


_BLOCKED = """
import sys
for name in ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'timm',
             'rich', 'matplotlib', 'PIL', 'scipy', 'yaml'):
    sys.modules[name] = None
import json
from casvit_mm.deploy import load
found = load(sys.argv[1])(sys.argv[2])
print(json.dumps([found.boxes.tolist(), found.scores.tolist(), int(found.masks.sum())]))
"""


def test_it_runs_where_only_numpy_opencv_and_the_engine_are(detector, photos):
    image = str(photos / '1.png')
    command = [sys.executable, '-c', _BLOCKED, str(detector), image]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    found = load(detector)(image)
    boxes, scores, pixels = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(boxes, found.boxes, atol=1e-3)
    np.testing.assert_allclose(scores, found.scores, atol=1e-6)
    assert pixels == found.masks.sum()


def test_without_torch_the_package_imports_and_only_its_models_fail():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        'import casvit_mm; print(casvit_mm.__version__)\n'
        'casvit_mm.CASViT'
    )
    command = [sys.executable, '-c', code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.stdout.strip() == casvit_mm.__version__
    assert done.stderr.splitlines()[-1].startswith('ModuleNotFoundError: import of torch')


def test_importing_the_package_registers_the_backbone():
    code = (
        'import casvit_mm; from mmengine.registry import MODELS; '
        "assert MODELS.get('CASViT') is casvit_mm.CASViT"
    )
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True, timeout=250)


def test_a_size_that_a_fixed_export_does_not_take_is_refused(classifier):
    with pytest.raises(InputError, match='fixed to 1 image of 128x128; got 1 of 96x64'):
        load(classifier).run(np.zeros((1, 3, 64, 96), np.uint8))


def test_a_batch_that_a_fixed_export_does_not_take_is_refused(classifier):
    with pytest.raises(InputError, match='fixed to 1 image of 128x128; got 2 of 128x128'):
        load(classifier).run(np.zeros((2, 3, 128, 128), np.uint8))


def test_an_array_of_another_form_than_a_batch_is_refused(classifier):
    with pytest.raises(InputError, match=r'shape \(B, 3, H, W\)'):
        load(classifier).run(np.zeros((128, 128, 3), np.uint8))


def test_a_threshold_below_that_of_the_export_is_refused(detector):
    with pytest.raises(InputError, match=r'score_thr must be from 0\.3'):
        load(detector, score_thr=0.1)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('gone.onnx', 'does not exist'),
        ('model.tflite', r'known are \.onnx, \.xml, \.pt2'),
        ('model.mlpackage', 'Apple devices'),
    ],
)
def test_a_file_that_cannot_be_run_is_refused(name, message, tmp_path):
    with pytest.raises(InputError, match=message):
        load(tmp_path / name)


def test_a_file_that_could_run_code_is_opened_only_on_request(tmp_path):
    # Not a file of ours: it fails as soon as it is read.
    (tmp_path / 'model.pt2').write_bytes(b'')
    with pytest.raises(InputError, match='could run code'):
        load(tmp_path / 'model.pt2')
    with pytest.raises(InputError, match='cannot be loaded'):
        load(tmp_path / 'model.pt2', trusted=True)


def test_a_file_cut_short_is_refused(classifier, tmp_path):
    path = tmp_path / 'short.onnx'
    path.write_bytes(classifier.read_bytes()[:-1000])
    with pytest.raises(InputError, match='cut short'):
        load(path)


def test_a_missing_half_of_a_pair_is_refused(tmp_path):
    (tmp_path / 'model.xml').write_text('<net/>')
    with pytest.raises(InputError, match=r'model\.bin does not exist'):
        load(tmp_path / 'model.xml')


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


def test_a_missing_engine_names_the_extra_to_install(classifier, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(InputError, match=r"onnxruntime is not installed.*'\.\[deploy\]'"):
        load(classifier)


def test_an_unreadable_image_is_refused_by_name(classifier, tmp_path):
    (tmp_path / 'a.png').write_bytes(b'no image')
    with pytest.raises(InputError, match=r'a\.png \(8 bytes\) cannot be decoded'):
        load(classifier)(tmp_path / 'a.png')
