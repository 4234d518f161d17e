"""RetinaNet with CAS-ViT-XS for a few hundred photographs on a small machine, from scratch.

``retinanet_casvit_xs_light.py`` with pictures as photographs look. Meant for
``--from-scratch --data``.
"""

_base_ = ['./retinanet_casvit_xs_light.py', './_base_/photographs.py']

train_dataloader = dict(dataset=dict(pipeline={{_base_.photo_boxes}}))
