"""Mask R-CNN with FViT-B/16 on COCO, by the 1x recipe of CAS-ViT, for 8 GPUs x 4 images.

One map at stride 16, made into a pyramid as in ViTDet. No published weights exist: pretrain with
fvit_b16_imagenet.py and give the checkpoint by --pretrained.
"""

_base_ = './maskrcnn_casvit_xs_coco.py'

model = dict(
    backbone=dict(_delete_=True, type='FViT', arch='b16', img_size=384, drop_path_rate=0.1),
    neck=dict(
        _delete_=True,
        type='SimpleFeaturePyramid',
        in_channels=768,
        in_stride=16,
        out_channels=256,
        num_outs=5,
    ),
)
