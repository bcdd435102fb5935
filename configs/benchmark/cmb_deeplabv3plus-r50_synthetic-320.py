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
    ramp_up=None,
    mix_start=0,
    bank_start=0,
    contrast_start=0,
    quality_filter=False,
    enqueue_number=7,
)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.995, warmup='1/(10t+1)', anneal='cosine'),
    dict(type='MemoryHook'),
]
