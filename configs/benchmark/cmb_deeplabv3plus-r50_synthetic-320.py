# CMB, DeepLabV3+-R50, 4 labeled images and 2 x 2 augmentations of 320 x 320: what
# tools/benchmark measures.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16_cmb.py',
    '../_base_/augment/cmb_background0.py',
    '../_base_/datasets/synthetic-320_plain.py',
    '../_base_/schedules/adamw_800.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
# Everything from the first step on. No filter: an untrained network would predict few
# pixels right, and leave out work
model = dict(
    type='CMB',
    student=dict(backbone=dict(init_cfg=None, norm_cfg=dict(type='BN'))),
    weak_augment={{_base_.weak_augment}},
    strong_augment={{_base_.strong_augment}},
    mix_start=0,
    pseudo_loss=dict(ramp_up=None),
    contrast=dict(
        type='BankContrast', start=0, candidates=dict(start=0, threshold=None, number=7)
    ),
)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.995, warmup='1/(10t+1)', anneal='cosine'),
    dict(type='MemoryHook'),
]
