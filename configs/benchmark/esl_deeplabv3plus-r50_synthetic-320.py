# ESL, DeepLabV3+-R50, 4 + 4 images of 320 x 320: what tools/benchmark measures.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16.py',
    '../_base_/datasets/synthetic-320.py',
    '../_base_/schedules/adamw_800.py',
    '../_base_/default_runtime.py',
]
# By the tools: untrained networks predict few classes
full_banks = True
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
# Untrained networks are never sure: every unlabeled pixel may be an anchor
model = dict(
    type='ESL',
    student=dict(backbone=dict(init_cfg=None, norm_cfg=dict(type='BN'))),
    contrast=dict(threshold=0.0),
)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.99),
    dict(type='PrototypeInitHook'),
]
default_hooks = dict(checkpoint=dict(save_best='teacher/mIoU'))
