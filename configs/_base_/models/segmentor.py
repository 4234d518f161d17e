"""What every segmentor on CAS-ViT has: the backbone and its images, without variant and head.

Heads have ``AutoSyncBN``: synchronised where several GPUs share the work, plain elsewhere.
"""

model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
    ),
    backbone=dict(type='CASViT', norm_eval=True),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
