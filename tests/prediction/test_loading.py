"""One call for any task and any file."""

import json

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
from export_models import CLASSES, export_onnx, random_image, write_model, write_photos
from old_runs import unpack_run

import casvit_mm
from casvit_mm import InputError
from casvit_mm.datasets.shapes import (
    generate_shape_classes,
    generate_shape_labels,
    generate_shapes,
)
from casvit_mm.deploy import Classification, Detections, Segmentation
from casvit_mm.engine import evaluate
from casvit_mm.weights.reading import load_file
from casvit_mm.zoo.publish import publish

KINDS = {
    'maskrcnn': (generate_shapes, CLASSES, Detections),
    'segmentation': (generate_shape_labels, ('ground', *CLASSES), Segmentation),
    'classification': (generate_shape_classes, CLASSES, Classification),
}
QUIET = {
    'test_dataloader.num_workers': 0,
    'test_dataloader.persistent_workers': False,
    'env_cfg.mp_cfg.mp_start_method': 'fork',
}


@pytest.fixture(scope='module', params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope='module')
def model(kind, tmp_path_factory):
    """Config and checkpoint of a tiny model whose predictions depend on the image."""
    return write_model(tmp_path_factory.mktemp(kind), kind, KINDS[kind][1])


@pytest.fixture(scope='module')
def loaded(model):
    return casvit_mm.load(model[1], score_thr=0.3, device='cpu')


def assert_same(ours, theirs):
    """Two predictions for one image are the same, to rounding."""
    assert type(ours) is type(theirs)
    assert ours.size == theirs.size
    if isinstance(ours, Segmentation):
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        return
    assert ours.names == theirs.names
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-5)
    if isinstance(ours, Detections):
        np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1e-3)


def test_the_config_in_the_checkpoint_is_enough(model, loaded, kind):
    config, checkpoint = model
    named = casvit_mm.load(checkpoint, config, score_thr=0.3, device='cpu')
    image = random_image(90, 120)
    result = loaded(image)
    assert isinstance(result, KINDS[kind][2])
    assert result.classes == loaded.classes == KINDS[kind][1]
    assert result.size == (90, 120)
    assert_same(result, named(image))


def test_predictions_are_those_that_are_evaluated(model, loaded, kind, tmp_path):
    config, checkpoint = model
    data = KINDS[kind][0](tmp_path / 'data', sizes=(4, 2, 4), side=64, seed=1)
    out = tmp_path / ('pred' if kind == 'segmentation' else 'pred.json')
    evaluate(
        config,
        checkpoint,
        data=str(data),
        work_dir=str(tmp_path / 'work'),
        out_pred=str(out),
        cfg_options=QUIET,
    )
    if kind == 'segmentation':
        masks = sorted(out.iterdir())
        for mask in masks:
            (image,) = (tmp_path / 'data').rglob(f'test/{mask.name}')
            expected = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(loaded(image).labels, expected)
        assert len(masks) == 4
    elif kind == 'classification':
        for record in json.loads(out.read_text()):
            result = loaded(record['img_path'])
            assert result.names[0] == record['predicted']
            assert result.scores[0] == pytest.approx(record['score'], abs=1e-5)
    else:
        found = json.loads(out.read_text())
        (truth,) = data.parent.glob('test.json')
        images = {i['id']: i['file_name'] for i in json.loads(truth.read_text())['images']}
        number = 0
        # A dataset raises the limits of a config that keeps fewer objects.
        loaded = casvit_mm.load(checkpoint, max_dets=100, device='cpu')
        for image_id, name in images.items():
            result = loaded(data.parent / 'test' / name)
            theirs = [f for f in found if f['image_id'] == image_id and f['score'] >= 0.3]
            theirs.sort(key=lambda f: -f['score'])
            number += len(theirs)
            np.testing.assert_allclose(result.scores, [f['score'] for f in theirs], atol=1e-5)
            boxes = [a['bbox'] for a in result.annotations()]
            np.testing.assert_allclose(boxes, [f['bbox'] for f in theirs], atol=1e-2)
        assert number > 4


def test_tiles_read_what_is_larger_and_nothing_else(model, loaded, kind):
    if kind == 'classification':
        with pytest.raises(InputError, match='--tile is not for classification'):
            casvit_mm.load(model[1], tile=64, device='cpu')
        return
    tiled = casvit_mm.load(model[1], tile=64, overlap=0.25, tiles_at_once=2, device='cpu')
    small = random_image(64, 50)
    assert_same(tiled(small), loaded(small))
    large = random_image(64, 112)
    result = tiled(large)
    assert result.size == (64, 112)
    if kind == 'segmentation':  # what one tile alone holds
        first, second = loaded(large[:, :64]).labels, loaded(large[:, 48:]).labels
        np.testing.assert_array_equal(result.labels[:, :48], first[:, :48])
        np.testing.assert_array_equal(result.labels[:, 64:], second[:, 16:])


@pytest.mark.slow
def test_tiles_are_evaluated_as_they_predict(model, kind, tmp_path):
    if kind != 'maskrcnn':
        pytest.skip('segmentation goes the same way, classification has no tiles')
    data = generate_shapes(tmp_path / 'data', sizes=(1, 1, 2), side=96, seed=1)
    options = dict(data=str(data), work_dir=str(tmp_path / 'work'), cfg_options=QUIET)
    out = tmp_path / 'found.json'
    metrics = evaluate(*model, tile=64, overlap=0.3, out_pred=str(out), **options)
    assert 'coco/segm_mAP' in metrics
    tiled = casvit_mm.load(model[1], tile=64, overlap=0.3, max_dets=100, device='cpu')
    found = json.loads(out.with_name('found.segm.json').read_text())
    for number, path in enumerate(sorted((tmp_path / 'data/test').iterdir()), 1):
        ours = tiled(path).annotations()
        theirs = [f for f in found if f['image_id'] == number and f['score'] >= 0.3]
        theirs.sort(key=lambda f: -f['score'])
        assert len(ours) > 4
        assert [a['segmentation'] for a in ours] == [f['segmentation'] for f in theirs]
        assert theirs[0]['segmentation']['size'] == [96, 96]
    exported = export_onnx(kind, tmp_path, write_photos(tmp_path), KINDS[kind][1])
    again = evaluate(model[0], exported, tile=64, overlap=0.3, **options)
    assert again['coco/bbox_mAP'] == pytest.approx(metrics['coco/bbox_mAP'], abs=0.02)


def test_an_exported_file_predicts_the_same(kind, loaded, model, tmp_path):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    photos = write_photos(tmp_path)
    path = export_onnx(kind, tmp_path, photos, KINDS[kind][1])
    exported = casvit_mm.load(path)
    assert (exported.task, exported.classes) == (loaded.task, loaded.classes)
    for photo in sorted(photos.glob('*.png')):
        ours, theirs = loaded(photo), exported(photo)
        if isinstance(ours, Segmentation):
            assert (ours.labels == theirs.labels).mean() > 0.999
            assert ours.size == theirs.size
            tiles = [casvit_mm.load(f, tile=64, overlap=0.4) for f in (path, model[1])]
            large = np.tile(cv2.imread(str(photo)), (2, 2, 1))
            by_file, by_checkpoint = (one(large).labels for one in tiles)
            assert (by_file == by_checkpoint).mean() > 0.999
        else:
            assert_same(ours, theirs)


def test_batches_change_nothing(loaded):
    images = [random_image(90, 120, seed) for seed in range(3)] + [random_image(64, 64)]
    for ours, theirs in zip(loaded(images, batch_size=4), map(loaded, images), strict=True):
        assert_same(ours, theirs)


@pytest.mark.parametrize('size', [(1, 1), (3, 900), (900, 2)])
def test_any_size_goes_through(loaded, size):
    result = loaded(random_image(*size))
    assert result.size == size
    assert result.draw().ndim == 3


def test_an_image_too_thin_to_be_enlarged_is_refused(loaded, kind):
    image = np.zeros((1, 60000, 3), np.uint8)
    if kind == 'classification':
        with pytest.raises(InputError, match='would be enlarged'):
            loaded(np.zeros((1, 2_000_000, 3), np.uint8))
    else:
        assert loaded(image).size == (1, 60000)


@pytest.mark.parametrize('task', ['detection', 'segmentation', 'classification'])
def test_checkpoints_of_earlier_code_need_no_config(task, tmp_path):
    run = unpack_run(task, tmp_path / 'run')
    image = random_image(64, 64)
    alone = casvit_mm.load(run.checkpoint, score_thr=0.05, device='cpu')
    assert alone.task == task
    assert_same(
        alone(image),
        casvit_mm.load(run.checkpoint, run.config, score_thr=0.05, device='cpu')(image),
    )


@pytest.mark.parametrize('file_format', ['safetensors', 'pth'])
def test_a_published_checkpoint_needs_no_config_and_names_no_file(file_format, tmp_path):
    run = unpack_run('classification', tmp_path / 'run')
    path = publish(run.checkpoint, str(tmp_path / 'out'), file_format=file_format).path
    text = load_file(path)['meta']['cfg']
    assert '/' not in text
    image = random_image(64, 64)
    named = casvit_mm.load(run.checkpoint, run.config, device='cpu')
    assert_same(casvit_mm.load(path, device='cpu')(image), named(image))


def test_a_file_of_weights_alone_needs_a_config(model, tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(torch.load(model[1])['state_dict'], path)
    with pytest.raises(InputError, match=r'weights\.pth holds no config.*config=FILE'):
        casvit_mm.load(path)


def test_options_of_another_kind_of_file_are_refused(model):
    with pytest.raises(InputError, match='threads is for an exported file'):
        casvit_mm.load(model[1], threads=2)
    with pytest.raises(InputError, match='config is for a checkpoint'):
        casvit_mm.load('model.onnx', model[0])


def test_a_threshold_that_is_no_score_is_refused(model):
    with pytest.raises(InputError, match='from 0 to 1, got 3'):
        casvit_mm.load(model[1], score_thr=3, device='cpu')
