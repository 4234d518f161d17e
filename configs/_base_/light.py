"""What the light recipes of detection share: pictures of micrographs, and the average of weights.

A micrograph has no up, so it is flipped every way.
"""

micrograph_boxes = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=(640, 640), ratio_range=(0.75, 1.33), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(384, 384)),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(2, 2), keep_empty=True),
    dict(
        type='RandomFlip',
        prob=[0.25, 0.25, 0.25],
        direction=['horizontal', 'vertical', 'diagonal'],
    ),
    dict(
        type='PhotoMetricDistortion',
        brightness_delta=16,
        contrast_range=(0.8, 1.2),
        saturation_range=(0.8, 1.2),
        hue_delta=5,
    ),
    dict(type='PackDetInputs'),
]
micrograph_boxes_test = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(640, 640), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
micrograph_masks = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomResize', scale=(384, 384), ratio_range=(0.7, 1.4), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(224, 224), recompute_bbox=True),
    # A crop can leave a box without a pixel of its mask; its logarithmic size target is infinite.
    dict(type='FilterAnnotations', min_gt_bbox_wh=(2, 2), keep_empty=True),
    dict(
        type='RandomFlip',
        prob=[0.25, 0.25, 0.25],
        direction=['horizontal', 'vertical', 'diagonal'],
    ),
    dict(type='PackDetInputs'),
]
micrograph_masks_test = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(384, 384), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
# Validation images are few, and single steps move their AP by a point; the average is steadier.
light_average = dict(
    type='EMAHook',
    # A short memory at first, or the random start would be in it for ten epochs.
    ema_type='ExpMomentumEMA',
    momentum=0.004,
    gamma=200,
    update_buffers=True,
    strict_load=True,
)
