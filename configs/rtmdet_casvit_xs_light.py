"""RTMDet with CAS-ViT-XS for a few hundred micrographs on a small machine, trained from scratch.

Images scaled to about 640 px and cropped to 384, four at a time: about a second per iteration
on two CPU cores. Meant for ``--from-scratch --data``.
"""

_base_ = ['./rtmdet_casvit_xs_coco.py', './_base_/light.py']

train_pipeline = {{_base_.micrograph_boxes}}
test_pipeline = {{_base_.micrograph_boxes_test}}
model = dict(
    # Whole images, where the COCO recipe pads to a square.
    data_preprocessor=dict(pad_size_divisor=32),
    # 30,000 candidates at 0.001 cost NMS on a CPU more time than the network takes.
    test_cfg=dict(nms_pre=1000, score_thr=0.01),
)
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=1, num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=40, val_interval=5, dynamic_intervals=None)
optim_wrapper = dict(optimizer=dict(lr=2e-3), clip_grad=dict(max_norm=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=40,
        T_max=40,
        eta_min_ratio=0.01,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(checkpoint=dict(interval=1))
custom_hooks = [{{_base_.light_average}}]
auto_scale_lr = dict(base_batch_size=4)
