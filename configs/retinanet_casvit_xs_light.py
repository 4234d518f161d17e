"""RetinaNet with CAS-ViT-XS for a few hundred micrographs on a small machine, from scratch.

Narrow neck and heads (96 channels, two layers) with group norm, boxes learnt by GIoU, images scaled
to about 640 px and cropped to 384: one to two seconds per iteration on two CPU cores. Meant for
``--from-scratch --data``.
"""

_base_ = ['./retinanet_casvit_xs_coco.py', './_base_/light.py']

# Without pretrained weights, neck and head need norms of their own
# (https://arxiv.org/abs/1811.08883, section 3), and batches are too small for batch norm.
norm_cfg = dict(type='GN', num_groups=16, requires_grad=True)
model = dict(
    neck=dict(out_channels=96, norm_cfg=norm_cfg),
    bbox_head=dict(
        in_channels=96,
        feat_channels=96,
        stacked_convs=2,
        norm_cfg=norm_cfg,
        # An overlap is what AP measures, and small sets have too few boxes for L1 to get there.
        reg_decoded_bbox=True,
        loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=2.0),
    ),
)

train_pipeline = {{_base_.micrograph_boxes}}
test_pipeline = {{_base_.micrograph_boxes_test}}
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=40, val_interval=5)
optim_wrapper = dict(
    optimizer=dict(lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=10),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=200),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=40,
        T_max=40,
        eta_min_ratio=0.01,
        convert_to_iter_based=True,
    ),
]
custom_hooks = [{{_base_.light_average}}]
auto_scale_lr = dict(base_batch_size=4)
