"""CAS-ViT-XS for a few thousand photographs on a small machine, trained from scratch.

Images scaled to a short side of 144 px, crops of 128 px, 40 epochs. Meant for ``--data``.
"""

_base_ = './casvit_xs_imagenet.py'

model = dict(backbone=dict(drop_path_rate=0.05))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleRandomResizedCrop',
        scale=128,
        crop_ratio_range=(0.25, 1.0),
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='TimmRandAugment', policy='rand-m7-mstd0.5-inc1', size=128),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=144, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=128),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    pin_memory=False,
    batch_sampler=dict(sizes=(96, 128, 160), base_size=128),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=32, num_workers=1, pin_memory=False, dataset=dict(pipeline=test_pipeline)
)
test_dataloader = val_dataloader

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=5),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=3, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        begin=3,
        end=40,
        T_max=37,
        eta_min=1e-6,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=40, val_interval=2)
auto_scale_lr = dict(base_batch_size=32)
custom_hooks = [dict(type='OptimizerStepEMAHook', momentum=0.01, evaluate_on_origin=False)]
