"""Masks, pictures and analysis that an evaluation leaves."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import TINY_ARCH
from PIL import Image

pytest.importorskip('mmseg')
from mmengine.config import Config
from mmengine.runner import Runner

from casvit_mm import InputError
from casvit_mm.segmentation.evaluation.analysis import summarise
from casvit_mm.segmentation.evaluation.pictures import write_analysis

CLASSES = ('road', 'tree', 'car')


PALETTE = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]


@pytest.fixture(scope='module')
def runner(tmp_path_factory):
    """A Runner of an untrained model and four images in two folders, before its test."""
    root = tmp_path_factory.mktemp('segmentation')
    rng = np.random.default_rng(0)
    for k, name in enumerate(('day/1', 'day/2', 'night/1', 'night/2')):
        for folder in ('images', 'labels'):
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (40, 56 + 8 * k, 3)).astype(np.uint8)
        labels = np.kron(rng.integers(0, 3, (5, 7 + k)), np.ones((8, 8))).astype(np.uint8)
        labels[:4] = 255
        cv2.imwrite(str(root / f'images/{name}.jpg'), pixels)
        cv2.imwrite(str(root / f'labels/{name}.png'), labels)
    norm = dict(type='BN')
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(96, 64), keep_ratio=True),
        dict(type='LoadAnnotations'),
        dict(type='PackSegInputs'),
    ]
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=CLASSES, palette=PALETTE),
        pipeline=pipeline,
        test_mode=True,
    )
    torch.manual_seed(0)
    images = str(root / 'images')
    cfg = dict(
        default_scope='mmseg',
        model=dict(
            type='EncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor', size=None, size_divisor=32),
            backbone=dict(type='CASViT', arch=TINY_ARCH, out_indices=(0, 1, 2, 3)),
            decode_head=dict(
                type='FCNHead',
                in_channels=20,
                in_index=3,
                channels=8,
                num_convs=1,
                num_classes=3,
                norm_cfg=norm,
                align_corners=False,
            ),
            test_cfg=dict(mode='whole'),
        ),
        test_dataloader=dict(
            batch_size=1,
            num_workers=0,
            dataset=dataset,
            sampler=dict(type='DefaultSampler', shuffle=False),
        ),
        test_cfg=dict(type='TestLoop'),
        test_evaluator=dict(type='SegmentationIoU', out_dir=str(root / 'found'), root=images),
        custom_hooks=[
            dict(type='SegmentationPicturesHook', out_dir=str(root / 'pictures'), root=images)
        ],
        work_dir=str(root / 'work'),
    )
    return Runner.from_cfg(Config(cfg))


@pytest.fixture(scope='module')
def tested(runner):
    """The folder that a test has left, its metric, and what it measured."""
    metrics = runner.test()
    root = Path(runner.work_dir).parent
    return root, runner.test_evaluator.metrics[0], metrics


def test_a_test_run_counts_every_pixel_in_the_size_of_its_label_file(tested):
    root, metric, metrics = tested
    labels = [cv2.imread(str(path), 0) for path in (root / 'labels').rglob('*.png')]
    assert metric.confusion_matrix.sum() == sum((part != 255).sum() for part in labels)
    assert 0 < metrics['mIoU'] < 1


def test_a_test_run_leaves_a_mask_and_a_picture_per_image(tested):
    root, metric, _ = tested
    metric.check_written()
    names = ['day/1.png', 'day/2.png', 'night/1.png', 'night/2.png']
    for folder in ('found', 'pictures'):
        written = sorted(str(p.relative_to(root / folder)) for p in (root / folder).rglob('*.*'))
        assert written == names
    assert Image.open(root / 'found/night/2.png').size == (80, 40)
    assert Image.open(root / 'pictures/night/2.png').size[0] > 3 * 400


def test_pictures_that_cannot_be_written_end_no_test(runner, tested, tmp_path):
    hook = next(hook for hook in runner.hooks if type(hook).__name__ == 'SegmentationPicturesHook')
    hook.check_written()
    (tmp_path / 'day').write_text('a file where a folder should be')
    full = type(hook)(str(tmp_path), str(tested[0] / 'images'))
    samples = [runner.model.test_step(batch)[0] for batch in runner.test_dataloader]
    full.after_test_iter(runner, 0, outputs=samples)
    full.after_test(runner)
    with pytest.raises(InputError, match=r'cannot write .*day/1\.png'):
        full.check_written()


def test_images_that_would_share_a_picture_are_refused_before_the_test(runner, tested, tmp_path):
    hook = next(hook for hook in runner.hooks if type(hook).__name__ == 'SegmentationPicturesHook')
    with pytest.raises(InputError, match=r'day/1\.jpg and .*night/1\.jpg would both be written'):
        type(hook)(str(tmp_path)).before_test(runner)


def test_the_analysis_draws_the_images_of_lowest_miou_first(runner, tested, tmp_path):
    root, metric, _ = tested
    (tmp_path / 'worst_09.png').touch()
    dataset = runner.test_dataloader.dataset
    returned = write_analysis(tmp_path, metric, runner.model, dataset, num_worst=2)
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ['analysis.json', 'confusion_matrix.png', 'worst_01.png', 'worst_02.png']
    content = json.loads((tmp_path / 'analysis.json').read_text())
    worst = content['worst_images']
    assert worst == returned['worst_images']
    assert worst[0]['mIoU'] < worst[1]['mIoU']
    # The same drawing of the same prediction as the picture of the test.
    name = Path(worst[0]['img_path']).relative_to(root / 'images').with_suffix('.png')
    pictures = [cv2.imread(str(p)) for p in (root / 'pictures' / name, tmp_path / 'worst_01.png')]
    np.testing.assert_array_equal(pictures[0][60:], pictures[1][60:])


def test_the_summary_names_the_largest_confusion_first(tested):
    metric = tested[1]
    summary = summarise(metric)
    matrix = np.array(summary['confusion_matrix']['counts'])
    wrong = matrix * ~np.eye(3, dtype=bool)
    row, column = np.unravel_index(wrong.argmax(), wrong.shape)
    start = (
        f'{CLASSES[row]} taken for {CLASSES[column]}: {wrong[row, column] / matrix[row].sum():.1%}'
    )
    assert summary['remarks'][0].startswith(start)
