"""Mask R-CNN with CAS-ViT-XS for small micrographs on small machines, trained from scratch.

Narrow neck and heads (64 channels), fewer sampled regions, anchors from 8 px, images scaled to
about 384 px and cropped to 224: under a second per iteration on two CPU cores instead of seven.
Meant for ``--from-scratch --data``.
"""

_base_ = ['./maskrcnn_casvit_xs_coco.py', './_base_/light.py']

model = dict(
    neck=dict(out_channels=64),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[2, 4]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64, finest_scale=28),
        bbox_head=dict(in_channels=64, fc_out_channels=256),
        mask_roi_extractor=dict(out_channels=64, finest_scale=28),
        mask_head=dict(in_channels=64, conv_out_channels=64),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=1000, max_per_img=500),
        rcnn=dict(sampler=dict(num=64, pos_fraction=0.4)),
    ),
)

train_pipeline = {{_base_.micrograph_masks}}
test_pipeline = {{_base_.micrograph_masks_test}}
train_dataloader = dict(batch_size=2, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=44, val_interval=4)
optim_wrapper = dict(
    optimizer=dict(lr=6e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=10),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=200),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=44,
        T_max=44,
        eta_min_ratio=0.01,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(base_batch_size=4)
