"""Mask R-CNN with CAS-ViT-XS for a few hundred photographs on a small machine, from scratch.

``maskrcnn_casvit_xs_light.py`` with pictures as photographs look, at 640 px, and anchors from 16 to
512 px. Meant for ``--from-scratch --data``.
"""

_base_ = ['./maskrcnn_casvit_xs_light.py', './_base_/photographs.py']

model = dict(
    rpn_head=dict(anchor_generator=dict(scales=[4, 8])),
    roi_head=dict(
        bbox_roi_extractor=dict(finest_scale=56),
        mask_roi_extractor=dict(finest_scale=56),
    ),
)
train_dataloader = dict(dataset=dict(pipeline={{_base_.photo_masks}}))
val_dataloader = dict(dataset=dict(pipeline={{_base_.photo_masks_test}}))
test_dataloader = val_dataloader
