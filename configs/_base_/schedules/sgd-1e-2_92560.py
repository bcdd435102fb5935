# SGD, 0.01 for the heads and 0.001 for the backbone, poly 0.9: 80 epochs of 1 157.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
param_scheduler = [dict(type='PolyLR', eta_min=0, power=0.9, by_epoch=False, begin=0)]
train_cfg = dict(type='SemiTrainLoop', max_iters=92560, val_interval=1157)
auto_scale_lr = dict(enable=False, base_batch_size=16)
