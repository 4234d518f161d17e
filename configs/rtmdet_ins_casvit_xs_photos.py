"""RTMDet-Ins with CAS-ViT-XS for a few hundred photographs on a small machine, from scratch.

``rtmdet_ins_casvit_xs_light.py`` with pictures as photographs look, at 640 px. Meant for
``--from-scratch --data``, or for ``--finetune`` with ``rtmdet_ins_casvit_xs_coco.py``'s weights.
"""

_base_ = ['./rtmdet_ins_casvit_xs_light.py', './_base_/photographs.py']

train_dataloader = dict(dataset=dict(pipeline={{_base_.photo_masks}}))
val_dataloader = dict(dataset=dict(pipeline={{_base_.photo_masks_test}}))
test_dataloader = val_dataloader
