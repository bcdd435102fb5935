# AdamW 1e-3, 100 warm-up steps, then poly 0.9, 800 iterations.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-2)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='PolyLR', eta_min=0, power=0.9, by_epoch=False, begin=100),
]
train_cfg = dict(type='SemiTrainLoop', max_iters=800, val_interval=200)
auto_scale_lr = dict(enable=False, base_batch_size=16)
