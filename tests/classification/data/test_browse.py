import numpy as np
import pytest
from helpers import ROOT
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

pytest.importorskip('mmpretrain')

from casvit_mm import InputError
from casvit_mm.classification.data.trace import CropTrace
from casvit_mm.engine.browse import browse

LIGHT = str(ROOT / 'configs/casvit_xs_light.py')


@pytest.fixture
def drawn(monkeypatch):
    """The rows of views that are drawn, in place of picture files; last what names them."""
    rows = []
    module = 'casvit_mm.engine.browse'
    monkeypatch.setattr(f'{module}.draw_row', lambda views, path: rows.append(views))
    monkeypatch.setattr(f'{module}.draw_overview', lambda _, names, path: rows.append(names))
    return rows


def with_pipeline(tmp_path, *steps, more=''):
    pipeline = [dict(type='LoadImageFromFile'), *steps, dict(type='PackInputs')]
    path = tmp_path / 'config.py'
    path.write_text(
        f'_base_ = {LIGHT!r}\ntrain_dataloader = dict(dataset=dict(pipeline={pipeline!r}))\n{more}'
    )
    return str(path)


def test_an_input_has_its_colours_and_the_name_of_its_class(folder, tmp_path, drawn):
    config = with_pipeline(tmp_path, dict(type='RandomFlip', prob=1.0))
    data = str(folder / 'dataset.yaml')
    report = browse(config, data=data, count=2, copies=1, out=str(tmp_path / 'out'))
    original, seen = drawn[0]
    *_, name = original.title.splitlines()
    file = original.title.split()[1].rstrip(',')
    assert np.array_equal(original.image, np.asarray(Image.open(folder / 'train' / name / file)))
    assert np.array_equal(seen.image, original.image[:, ::-1])
    assert seen.title.endswith(f'horizontal flip\nshows 100% of the image, {name}')
    assert drawn[-1][0] == f'001: original ({name}), inputs'
    assert report.used == report.listed == 6
    assert report.warnings() == []


@pytest.mark.parametrize(
    ('steps', 'share', 'zoom'),
    [
        ([dict(type='ResizeEdge', scale=64, edge='short'), dict(type='CenterCrop', crop_size=32)],
         0.25, 2),
        ([dict(type='RandomCrop', crop_size=16)], 0.25, 1),
        ([dict(type='EfficientNetCenterCrop', crop_size=48, crop_padding=16)], 0.5625, 2),
        ([dict(type='Resize', scale=96)], 1, 3),
    ],
)  # fmt: skip
def test_crops_and_scales_are_told(folder, tmp_path, drawn, steps, share, zoom):
    config, data = with_pipeline(tmp_path, *steps), str(folder / 'dataset.yaml')
    counts = browse(config, data=data, count=1, out=str(tmp_path / 'out')).counts
    assert counts.shares == [share] * 2
    assert counts.zooms == pytest.approx([zoom] * 2)


def test_a_random_crop_is_measured_as_it_is_drawn(folder, tmp_path):
    init_default_scope('mmpretrain')
    steps = [dict(type='RandomResizedCrop', scale=8), dict(type='PackInputs')]
    cfg = dict(type='ClassDataset', ann_file='', lazy_init=True, pipeline=steps)
    image = np.arange(40 * 40 * 3).reshape(40, 40, 3).astype(np.uint8)
    packed = []
    for watched in (False, True):
        dataset = DATASETS.build(cfg)
        trace = CropTrace(dataset) if watched else None
        np.random.seed(3)
        packed.append(dataset.pipeline(dict(img=image, img_path='a.png'))['inputs'])
    assert (packed[0] == packed[1]).all()
    step = dataset.pipeline.transforms[1]
    np.random.seed(3)
    height, width = step.rand_crop_params(image)[2:]
    assert trace.share == height * width / 1600 < 1


def test_blends_of_whole_batches_are_named_and_not_drawn(folder, tmp_path, drawn):
    more = "model = dict(train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8)]))\n"
    config, data = with_pipeline(tmp_path, more=more), str(folder / 'dataset.yaml')
    lines = '\n'.join(browse(config, data=data, out=str(tmp_path / 'out')).lines())
    assert 'Mixup blend' in lines
    lines = browse(config, data=data, split='val', out=str(tmp_path / 'out')).lines()
    assert 'Mixup' not in '\n'.join(lines)


def test_a_pipeline_that_reads_no_file_is_refused(folder, tmp_path):
    config = tmp_path / 'config.py'
    pipeline = [dict(type='RandomFlip', prob=0.5), dict(type='PackInputs')]
    config.write_text(
        f'_base_ = {LIGHT!r}\ntrain_dataloader = dict(dataset=dict(pipeline={pipeline!r}))\n'
    )
    with pytest.raises(InputError, match='no step like LoadImageFromFile of the pipeline reads'):
        browse(str(config), data=str(folder / 'dataset.yaml'), out=str(tmp_path / 'out'))


def test_little_and_much_enlarged_parts_are_warned_of(folder, tmp_path, drawn):
    config = with_pipeline(
        tmp_path, dict(type='CenterCrop', crop_size=8), dict(type='Resize', scale=64)
    )
    first, second = browse(
        config, data=str(folder / 'dataset.yaml'), out=str(tmp_path / 'out')
    ).warnings()
    assert 'show 6% of their image' in first
    assert 'enlarged 8.0 times' in second
