"""SegFormer's head on CAS-ViT-XS for ADE20K: 160k iterations, 8 GPUs x 2 images.

By SegFormer's recipe (https://arxiv.org/abs/2105.15203, section 4.1; drop path as of its B0).
"""

_base_ = [
    './_base_/models/segformer.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/adamw_160k.py',
    './_base_/segmentation_runtime.py',
]

model = dict(
    backbone=dict(
        arch='xs',
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/cas-vit-xs.pth'),
    ),
    decode_head=dict(in_channels=[48, 56, 112, 220]),
)

optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'head': dict(lr_mult=10.0)}))
train_dataloader = dict(batch_size=2)
default_hooks = dict(checkpoint=dict(interval=16000))
