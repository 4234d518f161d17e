"""FViT-B/16 on ImageNet-1k at 384 px, by the recipe of the plain ViT in vit_b16_imagenet.py.

The paper has two pages and names no recipe of its own.
"""

_base_ = ['mmpretrain::vision_transformer/vit-base-p16_64xb64_in1k-384px.py']
custom_imports = dict(imports=['casvit_mm.classification'])

model = dict(
    backbone=dict(
        _delete_=True, type='FViT', arch='b16', img_size=384, out_type='cls_token', drop_rate=0.1
    ),
    head=dict(
        _delete_=True,
        type='CASViTClsHead',
        num_classes=1000,
        in_channels=768,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='classy_vision'),
    ),
)

val_evaluator = dict(type='ClassificationAccuracy')
test_evaluator = dict(type='ClassificationAccuracy')
auto_scale_lr = dict(enable=True)
default_hooks = dict(
    checkpoint=dict(max_keep_ckpts=2, save_best='accuracy/top1', rule='greater'),
)
