# CTT, two pairs of DeepLabV3+-R50, 2 + 2 images of 320 x 320: what tools/benchmark
# measures.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16.py',
    '../_base_/datasets/synthetic-320_plain.py',
    '../_base_/schedules/adamw_800.py',
    '../_base_/default_runtime.py',
]
# By the tools: untrained networks predict few classes right
full_banks = True
train_dataloader = dict(labeled=dict(batch_size=2), unlabeled={{_base_.unlabeled}})
# Untrained networks are never surer than 0.75. The median of their confidences in its
# place: half of the cells are at the high level
model = dict(
    type='CTT',
    student=dict(backbone=dict(init_cfg=None, norm_cfg=dict(type='BN'))),
    contrast=dict(threshold=0.058),
)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.99),
    dict(type='MemoryHook'),
]
default_hooks = dict(checkpoint=dict(save_best='student0/mIoU'))
