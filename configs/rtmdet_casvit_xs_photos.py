"""RTMDet with CAS-ViT-XS for a few hundred photographs on a small machine, trained from scratch.

``rtmdet_casvit_xs_light.py`` with pictures as photographs look. Meant for ``--from-scratch
--data``, or for ``--finetune`` with the weights of ``rtmdet_casvit_xs_coco.py``.
"""

_base_ = ['./rtmdet_casvit_xs_light.py', './_base_/photographs.py']

train_dataloader = dict(dataset=dict(pipeline={{_base_.photo_boxes}}))
