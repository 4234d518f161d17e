"""RTMDet with CAS-ViT-XS for a few hundred images on one GPU of 8 GB, from ImageNet weights.

Mosaic and mixup of images kept in memory, off for the last 20 of 100 epochs. Meant for
``--data``.
"""

_base_ = './rtmdet_casvit_xs_coco.py'

train_dataloader = dict(batch_size=8, num_workers=4)

train_cfg = dict(max_epochs=100, val_interval=5, dynamic_intervals=[(80, 1)])
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=200),
    dict(
        type='CosineAnnealingLR',
        begin=50,
        end=100,
        T_max=50,
        eta_min_ratio=0.05,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(checkpoint=dict(interval=1))
custom_hooks = [
    dict(
        type='EMAHook',
        # The memory of RTMDet's average, 5000 steps, is longer than such a training.
        ema_type='ExpMomentumEMA',
        momentum=0.002,
        gamma=500,
        update_buffers=True,
        priority=49,
    ),
    dict(
        type='PipelineSwitchHook',
        switch_epoch=80,
        switch_pipeline={{_base_.train_pipeline_stage2}},
    ),
]
auto_scale_lr = dict(base_batch_size=8)
