"""RTMDet with CAS-ViT-XS for a few hundred micrographs on a small machine, trained from scratch.

Images scaled to about 640 px and cropped to 384, four at a time: about a second per iteration
on two CPU cores. Meant for ``--from-scratch --data``.
"""

_base_ = './rtmdet_casvit_xs_coco.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=(640, 640), ratio_range=(0.75, 1.33), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(384, 384)),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(2, 2), keep_empty=True),
    dict(
        type='RandomFlip',
        prob=[0.25, 0.25, 0.25],
        direction=['horizontal', 'vertical', 'diagonal'],
    ),
    dict(
        type='PhotoMetricDistortion',
        brightness_delta=16,
        contrast_range=(0.8, 1.2),
        saturation_range=(0.8, 1.2),
        hue_delta=5,
    ),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(640, 640), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
model = dict(
    # Whole images, where the COCO recipe pads to a square.
    data_preprocessor=dict(pad_size_divisor=32),
    # 30,000 candidates at 0.001 cost NMS on a CPU more time than the network takes.
    test_cfg=dict(nms_pre=1000, score_thr=0.01),
)
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=1, num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=40, val_interval=5, dynamic_intervals=None)
optim_wrapper = dict(optimizer=dict(lr=2e-3), clip_grad=dict(max_norm=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=40,
        T_max=40,
        eta_min_ratio=0.01,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(checkpoint=dict(interval=1))
custom_hooks = [
    dict(
        type='EMAHook',
        # A short memory at first, or the random start would be in it for ten epochs.
        ema_type='ExpMomentumEMA',
        momentum=0.004,
        gamma=200,
        update_buffers=True,
        strict_load=True,
    )
]
auto_scale_lr = dict(base_batch_size=4)
