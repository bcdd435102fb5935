# FixMatch with CutMix, DeepLabV3+-R50, 4 + 4 images of 320 x 320: what tools/benchmark
# measures.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16.py',
    '../_base_/datasets/synthetic-320.py',
    '../_base_/schedules/adamw_800.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
# A threshold that an untrained network reaches, or work would be left out
model = dict(
    type='FixMatch',
    pseudo_loss=dict(threshold=0.0),
    mix=dict(type='CutMix'),
    student=dict(backbone=dict(init_cfg=None, norm_cfg=dict(type='BN'))),
)
