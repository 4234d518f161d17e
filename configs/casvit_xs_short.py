"""CAS-ViT-XS on a few thousand photographs, short: eight epochs at 96 px, to compare variants.

What tools/study_mixers.py --train runs. Four minutes on two cores for 1800 images; only differences
between its metrics mean anything, since a longer training goes much further.
"""

_base_ = './casvit_xs_light.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleRandomResizedCrop',
        scale=96,
        crop_ratio_range=(0.25, 1.0),
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=108, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=96),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_sampler=dict(sizes=(96,), base_size=96), dataset=dict(pipeline=train_pipeline)
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=1, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        begin=1,
        end=8,
        T_max=7,
        eta_min=1e-6,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=8, val_interval=8)
# A moving average would still hold the beginning.
custom_hooks = []
default_hooks = dict(checkpoint=dict(interval=8, save_best=None))
