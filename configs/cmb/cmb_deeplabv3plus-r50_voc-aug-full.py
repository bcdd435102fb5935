# CMB, DeepLabV3+-R50, all 10 582 labels of VOC aug, the same images unlabeled: Table 3.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16_cmb.py',
    '../_base_/datasets/voc-aug_crop321_unlabeled.py',
    '../_base_/augment/cmb_background0.py',
    '../_base_/schedules/sgd-4e-4_150k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='CMB',
    weak_augment={{_base_.weak_augment}},
    strong_augment={{_base_.strong_augment}},
)
train_dataloader = dict(labeled=dict(batch_size=20), unlabeled=dict(batch_size=10))
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.995, warmup='1/(10t+1)', anneal='cosine'),
    dict(type='MemoryHook'),
]
auto_scale_lr = dict(base_batch_size=30)
