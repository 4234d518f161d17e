"""RTMDet with CAS-ViT-XS on COCO in 36 epochs, for a backbone that starts from ImageNet weights."""

_base_ = './rtmdet_casvit_xs_coco.py'

train_cfg = dict(max_epochs=36, val_interval=3, dynamic_intervals=[(30, 1)])
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-5, by_epoch=False, begin=0, end=1000),
    dict(
        type='CosineAnnealingLR',
        begin=18,
        end=36,
        T_max=18,
        eta_min=2e-4,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(checkpoint=dict(interval=3))
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='ExpMomentumEMA',
        momentum=2e-4,
        update_buffers=True,
        priority=49,
    ),
    # Mosaic and mixup are off for the last sixth.
    dict(
        type='PipelineSwitchHook',
        switch_epoch=30,
        switch_pipeline={{_base_.train_pipeline_stage2}},
    ),
]
