# AdamW 1e-4 for the heads and 1e-5 for the backbone, gradients of norm 0.01 at most,
# poly 0.9 down to 0, 120 000 iterations.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4),
    clip_grad=dict(max_norm=0.01, norm_type=2),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
param_scheduler = [dict(type='PolyLR', eta_min=0, power=0.9, by_epoch=False, begin=0)]
train_cfg = dict(type='SemiTrainLoop', max_iters=120000, val_interval=2000)
# 8 labeled and 8 unlabeled images
auto_scale_lr = dict(enable=False, base_batch_size=16)
