# SGD 2.5e-4 for all parameters, poly 0.9 down to 0, 80 000 iterations.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=2.5e-4, momentum=0.9, weight_decay=5e-4),
)
param_scheduler = [dict(type='PolyLR', eta_min=0, power=0.9, by_epoch=False, begin=0)]
train_cfg = dict(type='SemiTrainLoop', max_iters=80000, val_interval=2000)
# CTT's 2 labeled and 2 unlabeled images; configs with another batch set their own.
auto_scale_lr = dict(enable=False, base_batch_size=4)
