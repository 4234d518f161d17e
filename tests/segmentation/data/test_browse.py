import numpy as np
import pytest
from helpers import ROOT
from PIL import Image

pytest.importorskip('mmseg')

from casvit_mm.engine.browse import browse
from casvit_mm.segmentation.data.browse import MaskView

SHAPES = str(ROOT / 'configs/semfpn_casvit_xs_shapes.py')


@pytest.fixture
def drawn(monkeypatch):
    """The rows of views that are drawn, in place of picture files."""
    rows = []
    module = 'casvit_mm.engine.browse'
    monkeypatch.setattr(f'{module}.draw_row', lambda views, path: rows.append(views))
    monkeypatch.setattr(f'{module}.draw_overview', lambda rows, names, path: None)
    return rows


def with_pipeline(tmp_path, *steps):
    loaders = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    pipeline = [*loaders, *steps, dict(type='PackSegInputs')]
    path = tmp_path / 'config.py'
    path.write_text(
        f'_base_ = {SHAPES!r}\ntrain_dataloader = dict(dataset=dict(pipeline={pipeline!r}))\n'
        'model = dict(data_preprocessor=dict(size=(64, 64)))\n'
    )
    return str(path)


def test_an_image_and_its_mask_stand_beside_each_input(folder, tmp_path, drawn):
    flip = dict(type='RandomFlip', prob=1.0, direction='horizontal')
    config = with_pipeline(tmp_path, flip)
    browse(config, data=str(folder / 'dataset.yaml'), count=1, copies=1, out=str(tmp_path / 'out'))
    original, mask, seen, seen_mask = drawn[0]
    name = original.title.split()[1].rstrip(',')
    assert np.array_equal(original.image, np.asarray(Image.open(folder / 'train' / name)))
    assert np.array_equal(seen.image, original.image[:, ::-1])
    assert 'horizontal flip' in seen.title
    label = np.asarray(Image.open(folder / 'train_labels' / name))
    assert set(mask.legend()) == {
        ('ground', 'circle', 'square', 'triangle')[k] for k in set(label.ravel()) - {255}
    }
    assert isinstance(seen_mask, MaskView)
    # Red, green and blue of the palette: the ground is yellow, no object is.
    ground = np.median(mask.image[label == 0], axis=0)
    assert ground[0] > ground[2]
    assert np.array_equal(np.median(seen_mask.image[label[:, ::-1] == 0], axis=0), ground)


def test_pixels_of_each_class_are_counted_before_and_after(folder, tmp_path, drawn):
    crop = dict(type='RandomCrop', crop_size=(40, 48))
    data = str(folder / 'dataset.yaml')
    report = browse(with_pipeline(tmp_path, crop), data=data, copies=3, out=str(tmp_path / 'out'))
    counts = report.counts
    assert report.used == report.listed == 4
    assert counts.before.sum() == 12 * 64 * 64
    assert counts.after.sum() == 12 * 40 * 48
    assert counts.padding == 12 * (64 * 64 - 40 * 48)
    label = [np.asarray(Image.open(path)) for path in (folder / 'train_labels').iterdir()]
    assert counts.before[0] == 3 * sum((values == 0).sum() for values in label)
    assert counts.before[-1] == 3 * sum((values == 255).sum() for values in label)
    lines = '\n'.join(report.lines())
    assert f'{counts.before[0] / counts.before.sum():7.2%}' in lines
    assert '53.12% of the inputs' in lines
    assert any('padding or ignored' in warning for warning in report.warnings())


def test_a_class_that_no_input_shows_is_warned_of(folder, tmp_path, drawn):
    shrink = dict(type='Resize', scale=(3, 3), keep_ratio=True)
    data = str(folder / 'dataset.yaml')
    report = browse(with_pipeline(tmp_path, shrink), data=data, out=str(tmp_path / 'out'))
    lost = [name for name, shown in zip(report.counts.classes, report.counts.shown) if not shown]
    assert lost
    assert f'{lost[0]} (' in report.warnings()[0]


def test_masks_of_a_test_pipeline_are_scaled_with_the_image(folder, tmp_path, drawn):
    data = str(folder / 'dataset.yaml')
    report = browse(SHAPES, data=data, split='val', count=2, copies=1, out=str(tmp_path / 'out'))
    assert drawn[0][2].image.shape == drawn[0][3].image.shape
    assert report.counts.after.sum() == 2 * np.prod(report.counts.inputs[0])


def test_masks_of_other_values_are_read_as_training_reads_them(folder, tmp_path, drawn):
    for path in (*folder.glob('train_labels/*.png'), *folder.glob('val_labels/*.png')):
        values = np.where(np.asarray(Image.open(path)) == 0, 0, 255).astype(np.uint8)
        Image.fromarray(values).save(path)
    text = (folder / 'dataset.yaml').read_text().split('classes:')[0]
    (folder / 'two.yaml').write_text(text + 'classes: {ground: 0, thing: 255}\n')
    data = str(folder / 'two.yaml')
    report = browse(with_pipeline(tmp_path), data=data, copies=1, out=str(tmp_path / 'out'))
    assert report.counts.before[2] == 0
    assert report.counts.before[1] > 0
