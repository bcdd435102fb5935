# AdamW 1e-3 for heads and 2e-4 for a pretrained backbone, else as adamw_800.
_base_ = './adamw_800.py'
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.2))))
