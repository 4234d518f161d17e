"""SegFormer's head on CAS-ViT-XS for a few hundred photographs on a small machine, from scratch.

Meant for ``--from-scratch --data``, or for ``--finetune`` with ``segformer_casvit_xs_ade20k.py``'s
weights, which it takes as they are.
"""

_base_ = ['./_base_/models/segformer.py', './_base_/segmentation_light.py']

model = dict(
    data_preprocessor=dict(size=(256, 256)),
    backbone=dict(
        arch='xs',
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/cas-vit-xs.pth'),
    ),
    decode_head=dict(in_channels=[48, 56, 112, 220]),
)
