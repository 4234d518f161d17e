"""Pixels of files and arrays are those of the test pipelines of the mm packages."""

import tracemalloc
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from helpers import ROOT
from PIL import Image

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
import mmcv
from export_models import random_image
from mmcv.transforms import Compose
from mmengine.registry import init_default_scope

from casvit_mm import InputError
from casvit_mm.config.reading import read_config
from casvit_mm.deploy import read_image
from casvit_mm.deploy.images import as_bgr, quiet_opencv, resize
from casvit_mm.export.loading import _steps


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
        'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco',
        'mmdet::yolox/yolox_tiny_8xb8-300e_coco',
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
    cfg = read_config(f'{config}.py' if '::' in config else ROOT / f'configs/{config}.py')
    init_default_scope(cfg.default_scope)
    image = random_image(*size)
    pipeline = [
        step
        for step in cfg.test_dataloader.dataset.pipeline
        if not step.type.startswith(('Load', 'Pack'))
    ]
    expected = Compose(pipeline)(dict(img=image, img_shape=size, ori_shape=size))['img']
    np.testing.assert_array_equal(resize(image, _steps(cfg), (0, 0, 0)).pixels, expected)


def test_a_thin_image_takes_no_memory_for_weights_it_does_not_use():
    image = np.zeros((2, 3000, 3), np.uint8)
    step = dict(op='short_edge', size=16, interpolation='pillow-bicubic')
    tracemalloc.start()
    assert resize(image, [step], ()).pixels.shape == (16, 24_000, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26  # a weight for each pair of pixels would take 0.6 GB


@pytest.mark.parametrize(
    'step',
    [
        dict(op='short_edge', size=256, interpolation='pillow-bicubic'),
        dict(op='short_edge', size=256, interpolation='bilinear'),
        dict(op='stretch', size=(10**6, 10**6), interpolation='bilinear'),
        dict(op='letterbox', size=(10**6, 10**6), interpolation='bilinear'),
        dict(op='multiple', divisor=10**6, interpolation='bilinear'),
    ],
)
def test_no_step_enlarges_an_image_beyond_the_limit(step):
    with pytest.raises(InputError, match=r'an image of \d+ x \d+ pixels would be enlarged to'):
        resize(np.zeros((1, 9000, 3), np.uint8), [step], (0, 0, 0))


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
    np.testing.assert_array_equal(read_image(path), mmcv.imread(path))


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


def test_opencv_is_kept_quiet_wherever_its_log_level_is(monkeypatch):
    levels = [3]
    moved = SimpleNamespace(getLogLevel=lambda: levels[-1], setLogLevel=levels.append)
    monkeypatch.delattr(cv2, 'getLogLevel', raising=False)  # as in OpenCV 5
    monkeypatch.setattr(cv2.utils, 'logging', moved, raising=False)
    with quiet_opencv():
        assert levels[-1] == 0
    assert levels[-1] == 3
