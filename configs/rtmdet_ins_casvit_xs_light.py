"""RTMDet-Ins with CAS-ViT-XS for small micrographs on small machines, trained from scratch.

Boxes and masks without a second stage, images scaled to about 384 px and cropped to 224. Meant for
``--from-scratch --data``.
"""

_base_ = ['./rtmdet_ins_casvit_xs_coco.py', './_base_/light.py']

train_pipeline = {{_base_.micrograph_masks}}
test_pipeline = {{_base_.micrograph_masks_test}}
# The COCO recipe pads images and their masks to a square; here a batch is padded as one.
model = dict(data_preprocessor=dict(pad_size_divisor=32, pad_mask=True))
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=1, num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=44, val_interval=4, dynamic_intervals=None)
optim_wrapper = dict(optimizer=dict(lr=2e-3), clip_grad=dict(max_norm=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=44,
        T_max=44,
        eta_min_ratio=0.01,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(checkpoint=dict(interval=1))
custom_hooks = [{{_base_.light_average}}]
auto_scale_lr = dict(base_batch_size=4)
