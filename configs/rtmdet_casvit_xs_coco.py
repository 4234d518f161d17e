"""RTMDet with CAS-ViT-XS on COCO: RTMDet-tiny's published recipe for 8 GPUs x 32 images."""

_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'
custom_imports = dict(imports=['casvit_mm.detection'])

model = dict(
    # The pretrained backbone has seen RGB, that of RTMDet BGR.
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True
    ),
    backbone=dict(
        _delete_=True,
        type='CASViT',
        arch='xs',
        out_indices=(1, 2, 3),
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/cas-vit-xs.pth'),
    ),
    neck=dict(in_channels=[56, 112, 220], norm_cfg=dict(type='AutoSyncBN')),
    # As RTMDet-m and -l: boxes overlap objects from the first step, since their sides start at the
    # stride, not at zero; and the weights mean the same boxes in every form of ours.
    bbox_head=dict(exp_on_reg=True, norm_cfg=dict(type='AutoSyncBN')),
)

val_evaluator = dict(
    _delete_=True,
    type='CocoAP',
    ann_file='data/coco/annotations/instances_val2017.json',
    metric='bbox',
)
test_evaluator = val_evaluator

# mmdet's file has 16, left over from another recipe; its rate is for 8 x 32.
auto_scale_lr = dict(base_batch_size=256)
default_hooks = dict(
    checkpoint=dict(max_keep_ckpts=2, save_best='coco/bbox_mAP', rule='greater'),
)
