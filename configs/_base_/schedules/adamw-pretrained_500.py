# AdamW, 1e-2 for new heads and 3e-4 for a pretrained backbone, 50 warm-up steps, then
# poly 0.9, 500 iterations. Chosen for SupOnly on MSRC-21 (docs/results.md).
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-2, weight_decay=1e-2),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.03))),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='PolyLR', eta_min=0, power=0.9, by_epoch=False, begin=50),
]
train_cfg = dict(type='SemiTrainLoop', max_iters=500, val_interval=250)
auto_scale_lr = dict(enable=False, base_batch_size=16)
