"""CAS-ViT-XS on ImageNet with labels and DeiT's teacher, RegNetY-16GF (82.9 % top-1).

https://dl.fbaipublicfiles.com/deit/regnety_160-a5fe301d.pth, saved as the checkpoint below. Soft
distillation with DeiT's values: distillation=dict(type='soft', alpha=0.1, tau=3.0).
"""

_base_ = './casvit_xs_imagenet.py'

model = dict(
    type='DistilledClassifier',
    head=dict(distilled=True),
    teacher=dict(type='timm', name='regnety_160', checkpoint='checkpoints/regnety_160.pth'),
    distillation=dict(type='hard', alpha=0.5),
)
