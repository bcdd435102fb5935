# The labels alone, DeepLabV3+-R50, 4 images of 320 x 320: what tools/dev measures.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16.py',
    '../_base_/datasets/synthetic-320.py',
    '../_base_/schedules/adamw_800.py',
    '../_base_/default_runtime.py',
]
model = dict(
    student=dict(backbone=dict(init_cfg=None, norm_cfg=dict(type='BN'))),
)
