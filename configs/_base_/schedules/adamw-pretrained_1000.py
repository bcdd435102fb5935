# As adamw_800: 1 000 iterations, and 2e-4 for a pretrained backbone.
_base_ = './adamw_800.py'
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.2))))
train_cfg = dict(max_iters=1000, val_interval=250)
