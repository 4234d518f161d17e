"""Pictures of a segmentation, from its label maps and from an evaluation."""

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
from casvit_mm.plotting.colours import distinct_colours
from casvit_mm.plotting.confusion import draw_confusion_matrix
from casvit_mm.segmentation.evaluation.analysis import summarise
from casvit_mm.segmentation.evaluation.pictures import write_analysis
from casvit_mm.segmentation.prediction import drawing
from casvit_mm.segmentation.prediction.drawing import draw_segmentation

CLASSES = ('road', 'tree', 'car')
PALETTE = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]


@pytest.fixture
def texts(monkeypatch):
    """Every text that is drawn, with its box on the canvas and the canvas's size."""
    drawn = []
    original = drawing.ImageDraw.ImageDraw.text

    def text(pen, where, what, font, **options):
        box = pen.textbbox(where, what, font=font, anchor=options['anchor'])
        drawn.append((what, box, pen.im.size))
        original(pen, where, what, font=font, **options)

    monkeypatch.setattr(drawing.ImageDraw.ImageDraw, 'text', text)
    return drawn


def draw(truth, prediction, classes=CLASSES, palette=PALETTE, side=400):
    """A picture of label maps of a few pixels, enlarged to ``side``."""
    truth, prediction = (
        np.kron(m, np.ones((side // 4, side // 4), int)) for m in (truth, prediction)
    )
    image = np.full((*truth.shape, 3), 128, np.uint8)
    return draw_segmentation(image, truth, prediction, classes, 'a/b', palette)


FOUR = np.array([[0, 0, 1, 1]] * 4)


def hue(pixel):
    """Which of red, green and blue a BGR pixel has most of."""
    return 'bgr'[int(np.argmax(pixel))] if np.ptp(pixel) > 50 else 'grey'


def test_truth_and_prediction_stand_beside_the_image_in_the_colours_of_the_palette():
    picture = draw(FOUR, FOUR.T)
    # Panels of 400 pixels, 8 apart, below two lines of text.
    middle = picture[60 + 300]
    assert [hue(middle[8 + x]) for x in (100, 300)] == ['grey', 'grey']
    assert [hue(middle[8 + 408 + x]) for x in (100, 300)] == ['r', 'g']
    assert [hue(middle[8 + 816 + x]) for x in (100, 300)] == ['g', 'g']


def test_the_legend_tells_the_classes_that_occur_in_either_and_their_iou(texts):
    draw(np.zeros((4, 4), int), FOUR)
    legend = [what for what, _, _ in texts if ':' in what and 'prediction' not in what]
    assert legend == ['road: 0.50', 'tree: 0.00']
    assert any('mIoU 0.250, 50.0% of the pixels right' in what for what, _, _ in texts)


def test_ignored_pixels_are_striped_and_named(texts):
    picture = draw(np.full((4, 4), 255), FOUR)
    panel = picture[68:460, 424:816]
    assert {tuple(colour) for colour in panel.reshape(-1, 3)} == {(60,) * 3, (210,) * 3}
    legend = [what for what, _, _ in texts]
    assert 'ignored' in legend
    assert 'road: -' in legend


@pytest.mark.parametrize(('number', 'length'), [(2, 300), (150, 20), (150, 70)])
@pytest.mark.parametrize('shape', [(16, 16), (4, 100), (60, 3)])
def test_no_text_is_cut_or_lies_over_another(texts, number, length, shape):
    names = [f'{k} '.ljust(length, 'w') for k in range(number)]
    labels = np.arange(shape[0] * shape[1]).reshape(shape) % number
    draw_segmentation(np.zeros((*shape, 3), np.uint8), labels, labels, names, 'x' * 200)
    boxes = np.array([box for _, box, _ in texts])
    width, height = texts[0][2]
    assert len(boxes) == 5 + number
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= width
    assert boxes[:, 3].max() <= height
    left, top, right, bottom = boxes.T[..., None]
    meet = (left < right.T) & (right > left.T) & (top < bottom.T) & (bottom > top.T)
    assert meet.sum() == len(boxes)  # each meets itself


def test_without_a_palette_every_class_has_a_colour_of_its_own():
    assert len(set(distinct_colours(150))) == 150


def test_a_large_image_is_reduced_and_a_small_one_enlarged_by_a_whole_factor():
    for side, panel in ((1000, 1000), (3200, 1600), (150, 450)):
        labels = np.zeros((side // 2, side), np.uint8)
        picture = draw_segmentation(
            np.zeros((side // 2, side, 3), np.uint8), labels, labels, 'a', ''
        )
        assert 3 * panel < picture.shape[1] < 3 * panel + 100


def test_label_maps_of_different_sizes_are_refused():
    with pytest.raises(InputError, match='the truth has 2x1 pixels, the image 1x2'):
        draw_segmentation(
            np.zeros((1, 2, 3), np.uint8), np.zeros((1, 2)), np.zeros((2, 1)), 'a', ''
        )


@pytest.mark.parametrize('number', [1, 3, 150])
def test_a_confusion_matrix_of_any_number_of_classes_can_be_drawn(number, tmp_path):
    out = tmp_path / 'm.png'
    names = [f'class {i}' for i in range(number)]
    draw_confusion_matrix(np.eye(number, dtype=int), names, out, 'title')
    assert 300 < max(Image.open(out).size) < 4000


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
    """The folder that a test has left, its metric and its figures."""
    figures = runner.test()
    root = Path(runner.work_dir).parent
    return root, runner.test_evaluator.metrics[0], figures


def test_a_test_run_counts_every_pixel_in_the_size_of_its_label_file(tested):
    root, metric, figures = tested
    labels = [cv2.imread(str(path), 0) for path in (root / 'labels').rglob('*.png')]
    assert metric.confusion_matrix.sum() == sum((part != 255).sum() for part in labels)
    assert 0 < figures['mIoU'] < 1


def test_a_test_run_leaves_a_label_map_and_a_picture_per_image(tested):
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
