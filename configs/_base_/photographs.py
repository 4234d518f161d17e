"""Pipelines of the ``*_photos.py``: what a photograph may look like, and no more.

Images of about 640 px, crops of 512 px, so that most objects stay whole. Mirrored left to right
alone, since a photograph has an up. Colours as under another light, as YOLOX varies them: mmdet's
``PhotoMetricDistortion`` also swaps red, green and blue.
"""

photo_boxes = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=(640, 640), ratio_range=(0.75, 1.33), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(512, 512)),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(2, 2), keep_empty=True),
    dict(type='YOLOXHSVRandomAug'),  # writes in place, which a mirrored view does not allow
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
photo_masks = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomResize', scale=(640, 640), ratio_range=(0.75, 1.33), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(512, 512), recompute_bbox=True),
    # A crop can leave a box without a pixel of its mask.
    dict(type='FilterAnnotations', min_gt_bbox_wh=(2, 2), keep_empty=True),
    dict(type='YOLOXHSVRandomAug'),  # writes in place, which a mirrored view does not allow
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
photo_masks_test = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(640, 640), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
