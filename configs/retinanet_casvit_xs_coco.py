"""RetinaNet with CAS-ViT-XS on COCO, the published 1x recipe for 8 GPUs x 4 images."""

_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    'mmdet::_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['casvit_mm.detection'])

model = dict(
    backbone=dict(
        _delete_=True,
        type='CASViT',
        arch='xs',
        # Strides 8, 16 and 32; the published code computes stride 4 as well and ignores it.
        out_indices=(1, 2, 3),
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/cas-vit-xs.pth'),
    ),
    # start_level counts from the first output given; the base's 1 would shift every level.
    neck=dict(in_channels=[56, 112, 220], start_level=0, add_extra_convs='on_input'),
)

train_dataloader = dict(batch_size=4)
val_evaluator = dict(type='CocoAP')
test_evaluator = dict(type='CocoAP')

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2e-4, weight_decay=1e-4),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=12, milestones=[8, 11], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=32)
default_hooks = dict(
    checkpoint=dict(max_keep_ckpts=2, save_best='coco/bbox_mAP', rule='greater'),
)
