"""UPerNet with CAS-ViT-S on ADE20K: 160k iterations, 8 GPUs x 2 images."""

_base_ = [
    './_base_/models/upernet.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/adamw_160k.py',
    './_base_/segmentation_runtime.py',
]

model = dict(
    backbone=dict(
        arch='s',
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/cas-vit-s.pth'),
    ),
    decode_head=dict(in_channels=[48, 64, 128, 256]),
    auxiliary_head=dict(in_channels=128),
)

train_dataloader = dict(batch_size=2)
default_hooks = dict(checkpoint=dict(interval=16000))
