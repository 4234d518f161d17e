import json

import numpy as np
import pytest
import torch
from helpers import ROOT
from mmengine.config import Config
from PIL import Image

pytest.importorskip('mmdet')
from mmdet.registry import DATASETS
from mmengine.registry import init_default_scope

from casvit_mm import InputError
from casvit_mm.detection.data.browse import ObjectsView
from casvit_mm.detection.data.trace import Trace, boxes_of
from casvit_mm.engine.browse import browse

SHAPES = str(ROOT / 'configs/maskrcnn_casvit_xs_shapes.py')
LIGHT = str(ROOT / 'configs/maskrcnn_casvit_xs_light.py')


@pytest.fixture
def drawn(monkeypatch):
    """The rows of views that are drawn, in place of picture files."""
    rows = []
    module = 'casvit_mm.engine.browse'
    monkeypatch.setattr(f'{module}.draw_row', lambda views, path: rows.append(views))
    monkeypatch.setattr(f'{module}.draw_overview', lambda rows, names, path: None)
    return rows


def config_with(tmp_path, text, base=SHAPES):
    path = tmp_path / 'config.py'
    path.write_text(f'_base_ = {base!r}\n{text}\n')
    return str(path)


def pipeline(*steps):
    loaders = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    ]
    return [*loaders, *steps, dict(type='PackDetInputs')]


def with_pipeline(tmp_path, *steps):
    dataset = f'dict(dataset=dict(pipeline={pipeline(*steps)!r}))'
    return config_with(tmp_path, f'train_dataloader = {dataset}')


def test_a_picture_per_image_and_an_overview_are_written(shapes, tmp_path):
    report = browse(SHAPES, data=str(shapes), count=3, copies=1, out=str(tmp_path))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name[:4] for name in names] == ['001_', '002_', '003_', 'over']
    assert len(report.counts.inputs) == 3
    assert all(Image.open(tmp_path / name).width > 300 for name in names)


def test_the_same_seed_gives_the_same_pictures_and_another_seed_others(shapes, tmp_path):
    pictures = []
    for folder, seed in (('a', 5), ('b', 5), ('c', 6)):
        browse(LIGHT, data=str(shapes), count=1, copies=1, seed=seed, out=str(tmp_path / folder))
        pictures.append((tmp_path / folder / 'overview.png').read_bytes())
    assert pictures[0] == pictures[1]
    assert pictures[0] != pictures[2]


@pytest.mark.parametrize('convert', [True, False])
def test_an_input_has_the_colours_of_its_file_whatever_the_channel_order(
    shapes, tmp_path, drawn, convert
):
    steps = [dict(type='Resize', scale=(64, 64), keep_ratio=True)]
    config = with_pipeline(tmp_path, *steps)
    with open(config, 'a') as file:
        file.write(f'model = dict(data_preprocessor=dict(bgr_to_rgb={convert}))\n')
    browse(config, data=str(shapes), count=1, copies=1, out=str(tmp_path))
    original, seen = drawn[0]
    name = original.title.split()[1].rstrip(',')
    file = np.asarray(Image.open(shapes.parent / 'train' / name))
    assert np.array_equal(original.image, file)
    assert np.array_equal(seen.image, file)


def test_boxes_and_masks_follow_the_image(shapes, tmp_path, drawn):
    steps = [
        dict(type='Resize', scale=(128, 128), keep_ratio=True),
        dict(type='RandomFlip', prob=1.0, direction='horizontal'),
    ]
    browse(with_pipeline(tmp_path, *steps), data=str(shapes), count=1, copies=1, out=str(tmp_path))
    original, seen = drawn[0]
    x1, y1, x2, y2 = original.boxes.T * 2
    np.testing.assert_allclose(seen.boxes, np.stack([128 - x2, y1, 128 - x1, y2], 1), atol=1e-3)
    for box, outline in zip(seen.boxes, seen.outlines):
        low, high = outline.vertices.min(0), outline.vertices.max(0)
        np.testing.assert_allclose([*low, *high], box, atol=4)


def test_annotations_of_a_test_pipeline_are_scaled_with_the_image(shapes, tmp_path, drawn):
    # The config loads them after the resizing, where they would stay in pixels of the original.
    browse(SHAPES, data=str(shapes), split='val', count=1, copies=1, out=str(tmp_path))
    original, seen = drawn[0]
    assert original.image.shape[:2] == (64, 64)
    assert seen.image.shape[:2] == (128, 128)
    np.testing.assert_allclose(seen.boxes, original.boxes * 2, atol=1e-3)


def test_padding_is_told_apart_from_the_image(shapes, tmp_path, drawn):
    steps = [dict(type='Resize', scale=(100, 100), keep_ratio=True)]
    browse(with_pipeline(tmp_path, *steps), data=str(shapes), count=1, copies=1, out=str(tmp_path))
    seen = drawn[0][1]
    assert seen.image.shape == (128, 128, 3)
    assert seen.content == (100, 100)
    assert 'tensor 3 x 128 x 128' in seen.title
    assert 'padded from 100 x 100' in seen.title


def test_lost_objects_are_counted_by_the_transform_that_dropped_them(shapes, tmp_path, drawn):
    steps = [
        dict(type='RandomCrop', crop_size=(24, 24), allow_negative_crop=True),
        dict(type='FilterAnnotations', min_gt_bbox_wh=(6, 6), keep_empty=False),
    ]
    report = browse(with_pipeline(tmp_path, *steps), data=str(shapes), count=8, out=str(tmp_path))
    kept = sum(len(view.boxes) for row in drawn for view in row[1:])
    entered = sum(2 * len(row[0].boxes) for row in drawn)
    assert report.counts.dropped['RandomCrop'] > 0
    assert report.counts.dropped['FilterAnnotations'] > 0
    assert report.counts.loaded == entered
    assert report.counts.dropped.total() == entered - kept
    assert report.counts.empty == sum(len(view.boxes) == 0 for row in drawn for view in row[1:])
    assert any('of the objects are dropped' in line for line in report.warnings())


def test_boxes_that_become_too_small_are_warned_of_also_if_filtered(shapes, tmp_path, drawn):
    steps = [
        dict(type='Resize', scale=(4, 4), keep_ratio=True),
        dict(type='FilterAnnotations', min_gt_bbox_wh=(2, 2), keep_empty=False),
    ]
    report = browse(with_pipeline(tmp_path, *steps), data=str(shapes), count=8, out=str(tmp_path))
    small = sum((np.diff(v.boxes.reshape(-1, 2, 2), axis=1) / 16 < 2).any() for v, *_ in drawn)
    assert report.counts.tiny == report.counts.dropped['FilterAnnotations'] >= small > 0
    assert any('resized to less than 2 px' in line for line in report.warnings())


def test_an_unharmed_set_gives_no_warning(shapes, tmp_path, drawn):
    report = browse(SHAPES, data=str(shapes), out=str(tmp_path))
    assert report.warnings() == []
    assert report.used == report.listed == 8
    assert set(report.counts.inputs) == {(128, 128)}


def test_slivers_left_by_a_crop_are_no_reason_to_warn(shapes, tmp_path, drawn):
    steps = [dict(type='RandomCrop', crop_size=(12, 12), allow_negative_crop=True)]
    report = browse(with_pipeline(tmp_path, *steps), data=str(shapes), count=8, out=str(tmp_path))
    assert min((v.boxes[:, 2:] - v.boxes[:, :2]).min(initial=99) for r in drawn for v in r[1:]) < 2
    assert report.counts.tiny == 0


def test_a_rejected_input_is_named_with_its_replacement(shapes, tmp_path, drawn):
    steps = [dict(type='FilterAnnotations', min_gt_bbox_wh=(23, 23))]
    report = browse(with_pipeline(tmp_path, *steps), data=str(shapes), count=8, out=str(tmp_path))
    rejected = [view for row in drawn for view in row[1:] if 'rejected; training' in view.title]
    assert len(rejected) == report.counts.rejected > 0
    assert any('rejected by the pipeline' in line for line in report.warnings())


def test_images_that_are_never_used_are_counted(shapes, tmp_path, drawn):
    content = json.loads((shapes.parent / 'train.json').read_text())
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] != 1]
    (tmp_path / 'train.json').write_text(json.dumps(content))
    description = tmp_path / 'dataset.yaml'
    images = shapes.parent / 'train'
    description.write_text(
        f'train: {{annotations: train.json, images: {images}}}\n'
        f'val: {{annotations: train.json, images: {images}}}\n'
    )
    report = browse(SHAPES, data=str(description), count=1, out=str(tmp_path))
    assert (report.used, report.listed) == (7, 8)
    assert '1 of 8 images are never used' in report.warnings()[0]


def test_a_repeated_dataset_shows_every_image_once(shapes, tmp_path, drawn):
    inner = Config.fromfile(SHAPES).train_dataloader.dataset.to_dict()
    repeated = f"dict(_delete_=True, type='RepeatDataset', times=3, dataset={inner!r})"
    text = f'train_dataloader = dict(dataset={repeated})'
    report = browse(config_with(tmp_path, text), data=str(shapes), count=20, out=str(tmp_path))
    titles = [row[0].title for row in drawn]
    assert len(titles) == len(set(titles)) == report.used == 8


MOSAIC = """
inner = dict(
    type='CocoDataset',
    ann_file='',
    data_prefix=dict(img=''),
    pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)],
    filter_cfg=dict(filter_empty_gt=False),
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='MultiImageMixDataset',
        dataset=inner,
        pipeline=[dict(type='Mosaic', img_scale=(96, 96)), dict(type='PackDetInputs')],
    )
)
"""


def test_a_mosaic_shows_more_objects_than_its_original(shapes, tmp_path, drawn):
    config = config_with(tmp_path, MOSAIC)
    report = browse(config, data=str(shapes), count=4, copies=3, out=str(tmp_path))
    views = [view for row in drawn for view in row[1:]]
    assert all('several images mixed' in view.title for view in views)
    assert sum(len(v.boxes) for v in views) > sum(3 * len(row[0].boxes) for row in drawn)
    assert report.counts.loaded - report.counts.dropped.total() == sum(
        len(view.boxes) for view in views
    )
    assert report.counts.rejected == 0


def test_watching_a_pipeline_does_not_change_what_it_returns(shapes, tmp_path):
    cfg = Config.fromfile(SHAPES).train_dataloader.dataset
    cfg.update(
        data_root=str(shapes.parent),
        ann_file='train.json',
        data_prefix=dict(img='train'),
        metainfo=dict(classes=('circle', 'square', 'triangle')),
    )
    init_default_scope('mmdet')
    samples = []
    for watched in (False, True):
        dataset = DATASETS.build(cfg)
        if watched:
            Trace(dataset)
        np.random.seed(0)
        samples.append(dataset[2])
    assert torch.equal(samples[0]['inputs'], samples[1]['inputs'])
    assert len(boxes_of(samples[0])) > 0
    np.testing.assert_array_equal(*map(boxes_of, samples))


def test_names_are_written_only_where_there_are_few():
    from matplotlib.figure import Figure

    def texts(count):
        view = ObjectsView(
            image=np.zeros((50, 50, 3), np.uint8),
            content=(50, 50),
            title='',
            boxes=np.tile([5.0, 5, 20, 20], (count, 1)),
            names=['cell'] * count,
            colours={'cell': (1.0, 0.0, 0.0)},
            outlines=[],
        )
        axis = Figure().subplots()
        view.draw(axis, small=False)
        return [text.get_text() for text in axis.texts]

    assert texts(3) == ['cell'] * 3
    assert texts(100) == []


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(config='configs/nowhere.py'), r'config configs/nowhere\.py does not exist'),
        (dict(data='no.yaml'), r'no\.yaml \(--data\) does not exist'),
        (dict(count=0), '--count and --copies must be 1 or more, got 0 and 2'),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        browse(**{'config': SHAPES, **arguments})


def test_a_split_that_the_config_lacks_is_refused(tmp_path):
    config = config_with(tmp_path, 'test_dataloader = None\ntest_evaluator = None')
    with pytest.raises(InputError, match='has no test_dataloader; choose another --split'):
        browse(config, split='test')
