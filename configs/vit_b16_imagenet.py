"""The plain ViT-B/16 on ImageNet-1k at 384 px, as mmpretrain trains it: the baseline of FViT.

300 epochs on 64 GPUs x 64 images; the rate is scaled for another total. No mixed precision.
"""

_base_ = ['mmpretrain::vision_transformer/vit-base-p16_64xb64_in1k-384px.py']
custom_imports = dict(imports=['casvit_mm.classification'])

val_evaluator = dict(type='ClassificationAccuracy')
test_evaluator = dict(type='ClassificationAccuracy')
auto_scale_lr = dict(enable=True)
default_hooks = dict(
    checkpoint=dict(max_keep_ckpts=2, save_best='accuracy/top1', rule='greater'),
)
