"""For a few hundred photographs on a small machine, from scratch: all but the model.

Images scaled to a short side of about 384 px, crops of 256 px, 2,400 iterations of 8 crops.
"""

_base_ = [
    './datasets/ade20k.py',
    './schedules/semfpn_40k.py',
    './segmentation_runtime.py',
]

crop_size = (256, 256)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(1536, 384), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1536, 384), keep_ratio=True),
    dict(type='ResizeToMultiple', size_divisor=32),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(batch_size=8, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))

optim_wrapper = dict(
    optimizer=dict(lr=1.5e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=10),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=200, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=200, end=2400, by_epoch=False),
]
train_cfg = dict(max_iters=2400, val_interval=600)
default_hooks = dict(checkpoint=dict(interval=600))
auto_scale_lr = dict(base_batch_size=8)
