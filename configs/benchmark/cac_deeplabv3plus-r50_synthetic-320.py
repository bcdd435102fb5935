# CAC, DeepLabV3+-R50, 4 images and 4 x 2 crops of 320 x 320: what tools/benchmark
# measures.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16.py',
    '../_base_/datasets/synthetic-320_overlap.py',
    '../_base_/schedules/adamw_800.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
# No threshold: an untrained network would select no cell, and leave work out
model = dict(
    type='CAC',
    student=dict(backbone=dict(init_cfg=None, norm_cfg=dict(type='BN'))),
    contrast=dict(
        type='OverlapContrast',
        pool=2,
        num_negatives=6400,
        bank=dict(type='StepQueue', steps=1),
        threshold=None,
    ),
)
custom_hooks = [dict(type='MemoryHook')]
