"""Configs of the frameworks with our backbone and --data, trained and evaluated on a CPU."""

import pytest
from helpers import run_command

from casvit_mm.datasets.shapes import generate_shape_classes, generate_shape_labels

pytestmark = pytest.mark.slow

THREE = ('out_indices=(1, 2, 3)', '[56, 112, 220]')
FOUR = ('out_indices=(0, 1, 2, 3)', '[48, 56, 112, 220]')
SIZE = "dict(type='Resize', scale=(64, 64))"
STEPS = {
    'mmdet': ("dict(type='LoadAnnotations', with_bbox=True, with_mask=MASK)", 'PackDetInputs'),
    'mmseg': ("dict(type='LoadAnnotations')", 'PackSegInputs'),
    'mmpretrain': (None, 'PackInputs'),
}
# Name of the config, backbone and rest of the model, whether masks are learnt.
CONFIGS = {
    'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py': (THREE, 'neck=dict(in_channels=CHANNELS)', 0),
    'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py': (THREE, 'neck=dict(in_channels=CHANNELS)', 0),
    'mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py': (
        FOUR,
        'neck=dict(in_channels=CHANNELS)',
        1,
    ),
    'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py': (
        FOUR,
        'panoptic_head=dict(in_channels=CHANNELS), data_preprocessor=dict(batch_augments=None)',
        1,
    ),
    'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py': (
        THREE,
        'neck=dict(in_channels=CHANNELS), num_queries=20',  # as many as small images have places
        0,
    ),
    'mmseg::upernet/upernet_r50_4xb4-80k_ade20k-512x512.py': (
        FOUR,
        'pretrained=None, decode_head=dict(in_channels=CHANNELS), '
        'auxiliary_head=dict(in_channels=112)',
        0,
    ),
    'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py': (
        FOUR,
        'decode_head=dict(in_channels=CHANNELS)',
        0,
    ),
    'mmseg::mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py': (
        FOUR,
        'decode_head=dict(in_channels=CHANNELS)',
        0,
    ),
    'mmpretrain::resnet/resnet18_8xb32_in1k.py': (
        ('out_indices=(3,)', '220'),
        'head=dict(in_channels=CHANNELS)',
        0,
    ),
}


def write_config(path, name):
    """Write a config of a framework with our backbone, small images and one pass over the data."""
    scope = name.partition('::')[0]
    (indices, channels), model, masks = CONFIGS[name]
    labels, pack = STEPS[scope]
    sized = SIZE if scope != 'mmpretrain' else "dict(type='Resize', scale=64)"
    # Boxes are scaled with the images to train on; truth of test images keeps its size.
    train = [labels, sized] if labels else [sized]
    test = [sized, labels] if labels else [sized]
    loaders = [
        f'{split}_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, '
        f"dataset=dict(pipeline=[dict(type='LoadImageFromFile'), {', '.join(steps)}, "
        f"dict(type='{pack}')]))".replace('MASK', str(bool(masks)))
        for split, steps in (('train', train), ('val', test), ('test', test))
    ]
    by_epoch = name.startswith('mmpretrain') or ('mmdet' in name and 'mask2former' not in name)
    length = 'max_epochs=1' if by_epoch else 'max_iters=2, val_interval=2'
    rest = model.replace('CHANNELS', channels)
    text = f"""
_base_ = {name!r}
custom_imports = dict(imports=['casvit_mm'])
model = dict(backbone=dict(_delete_=True, type='CASViT', arch='xs', {indices}), {rest})
train_cfg = dict({length})
"""
    path.write_text(text + '\n'.join(loaders))


@pytest.mark.parametrize('name', CONFIGS)
def test_a_config_of_a_framework_trains_and_prints_our_tables(name, shapes, tmp_path):
    pytest.importorskip(name.partition('::')[0])
    data = shapes
    if name.startswith('mmseg'):
        data = generate_shape_labels(tmp_path / 'data', (4, 2, 2), 64)
    elif name.startswith('mmpretrain'):
        data = generate_shape_classes(tmp_path / 'data', (6, 3, 3), 64)
    config = tmp_path / 'config.py'
    write_config(config, name)
    work = ['--data', data, '--work-dir', tmp_path / 'run']
    trained = run_command('python', 'tools/train.py', config, '--from-scratch', *work)
    assert trained.returncode == 0, trained.stderr[-3000:]
    checkpoint = max((tmp_path / 'run').glob('[ei]*_[12].pth'))
    tested = run_command('python', 'tools/test.py', config, checkpoint, *work)
    assert tested.returncode == 0, tested.stderr[-3000:]
    table = {'mmdet': 'box, per class', 'mmseg': 'mIoU', 'mmpretrain': 'top-1'}
    assert table[name.partition('::')[0]] in tested.stdout
