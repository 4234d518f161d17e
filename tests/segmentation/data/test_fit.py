import numpy as np
import pytest
from helpers import ROOT
from mmengine.config import Config, DictAction
from PIL import Image

pytest.importorskip('mmseg')

from casvit_mm import InputError
from casvit_mm.config.reading import read_config
from casvit_mm.segmentation.data.checks import inspect_dataset
from casvit_mm.segmentation.data.description import read_dataset
from casvit_mm.segmentation.data.fit import finest_stride, measure_regions, segmentation_fit

LIGHT = str(ROOT / 'configs/semfpn_casvit_xs_light.py')  # scales into 1536 x 384, crops 256


def inspection_of(tmp_path, *masks, text='classes: [ground, line, thing]\n'):
    """What is found in a set whose train has these masks."""
    for split in ('train', 'val'):
        for kind in ('', '_labels'):
            (tmp_path / (split + kind)).mkdir()
        for i, mask in enumerate(masks):
            Image.new('RGB', mask.shape[::-1]).save(tmp_path / f'{split}/{split}{i}.png')
            Image.fromarray(mask).save(tmp_path / f'{split}_labels/{split}{i}.png')
    sources = ''.join(f'{s}: {{images: {s}, labels: {s}_labels}}\n' for s in ('train', 'val'))
    (tmp_path / 'dataset.yaml').write_text(sources + text)
    return inspect_dataset(read_dataset(tmp_path / 'dataset.yaml'), ('train', 'val'))


def mask_of(side=192):
    """Ground, a line of 1 x 100 pixels and a square of 40."""
    mask = np.zeros((side, side), np.uint8)
    mask[10, 20:120] = 1
    mask[30:70, 30:70] = 2
    return mask


def fit_of(tmp_path, *masks, config=LIGHT, **kwargs):
    return segmentation_fit(config, read_config(config), inspection_of(tmp_path, *masks, **kwargs))


def test_regions_are_the_connected_parts_of_each_class(tmp_path):
    mask = mask_of()
    mask[100:104, 100:106] = 2
    found = measure_regions(inspection_of(tmp_path, mask, text='classes: [a, b, c]\nignore: 0\n'))
    assert found.tolist() == [
        [1, 100, 1, 100, 192, 192],
        [2, 40, 40, 1600, 192, 192],
        [2, 6, 4, 24, 192, 192],
    ]


def test_what_is_thinner_than_the_stride_is_told_with_the_scale_that_shows_it(tmp_path):
    fit = fit_of(tmp_path, mask_of())
    assert fit.figures['thin_pixels'] == dict(ground=0, line=1, thing=0)  # 2 px after scaling
    assert fit.figures['thin_regions'] == pytest.approx(1 / 3)
    (advice,) = fit.advice
    assert 'line (100%)' in advice
    options = dict(o.split('=', 1) for o in advice.partition('--cfg-options ')[2].split())
    cfg = Config.fromfile(LIGHT)
    cfg.merge_from_dict({k: DictAction._parse_iterable(v.strip('"')) for k, v in options.items()})
    pipelines = [cfg[f'{s}_dataloader'].dataset.pipeline for s in ('train', 'val', 'test')]
    scales = {tuple(step.scale) for p in pipelines for step in p if step.get('scale')}
    assert scales == {(3072, 768)}


def test_crops_are_compared_with_images_and_regions(tmp_path):
    figures = fit_of(tmp_path, mask_of()).figures
    assert figures['crop_share'] == pytest.approx((256 / 384) ** 2)
    assert figures['padding'] == 0
    assert figures['larger_than_crop'] == pytest.approx(1 / 3)  # the ground; the line is 200 px


@pytest.mark.parametrize(
    ('crop', 'message'), [(96, 'shows 6.2% of a median image'), (640, '64% of the training inputs')]
)
def test_crops_that_fit_badly_are_told_with_a_better_one(tmp_path, crop, message):
    config = tmp_path / 'config.py'
    config.write_text(f'_base_ = {LIGHT!r}\nmodel = dict(decode_head=dict(feature_strides=[1]))\n')
    cfg = read_config(str(config))
    cfg.train_dataloader.dataset.pipeline[3].crop_size = (crop, crop)
    (advice,) = segmentation_fit(str(config), cfg, inspection_of(tmp_path, mask_of())).advice
    assert message in advice
    assert 'pipeline.3.crop_size="(' in advice
    assert 'model.data_preprocessor.size="(' in advice


def test_the_number_of_classes_and_of_the_first_value_follow_the_data(tmp_path):
    text = 'classes: [line, thing]\nreduce_zero_label: true\n'
    lines = '\n'.join(fit_of(tmp_path, mask_of(), text=text).lines)
    assert 'FPNHead 150; training makes them 2' in lines
    assert 'reduce_zero_label: false in the config, true in the data' in lines


def test_class_weights_of_other_data_are_refused_as_by_training(tmp_path):
    cfg = read_config(LIGHT)
    cfg.model.decode_head.loss_decode = dict(type='CrossEntropyLoss', class_weight=[1.0, 2.0])
    with pytest.raises(InputError, match='class_weight for 2 classes, and the data has 3'):
        segmentation_fit(LIGHT, cfg, inspection_of(tmp_path, mask_of()))


@pytest.mark.parametrize(
    ('config', 'stride'),
    [
        ('semfpn_casvit_xs_ade20k.py', 4),
        ('upernet_casvit_s_ade20k.py', 4),
        ('mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py', 8),
    ],
)
def test_the_stride_is_that_of_the_finest_map_that_the_head_reads(config, stride):
    path = config if '::' in config else str(ROOT / 'configs' / config)
    assert finest_stride(read_config(path)) == stride
