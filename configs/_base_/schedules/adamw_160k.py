"""160,000 iterations of AdamW with a linear decay to zero, for 8 GPUs x 2 images.

The recipe of Swin Transformer with UPerNet (https://arxiv.org/abs/2103.14030, appendix A2.3), which
UniFormer and most later backbones took over. SegFormer's (https://arxiv.org/abs/2105.15203, section
4.1) has the same rate, decay and length, and ten times the rate for its head.
"""

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=1500, by_epoch=False),
    dict(type='PolyLR', power=1.0, eta_min=0.0, begin=1500, end=160000, by_epoch=False),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=160000, val_interval=16000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(base_batch_size=16)
