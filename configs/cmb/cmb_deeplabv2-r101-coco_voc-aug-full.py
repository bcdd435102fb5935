# CMB, DeepLabV2-R101 from COCO, all 10 582 labels of VOC aug, the same images
# unlabeled: Table 3.
_base_ = [
    '../_base_/models/deeplabv2_r101-d8_coco.py',
    '../_base_/datasets/voc-aug_crop321_unlabeled.py',
    '../_base_/augment/cmb_background0.py',
    '../_base_/schedules/sgd-2e-4_150k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='CMB',
    weak_augment={{_base_.weak_augment}},
    strong_augment={{_base_.strong_augment}},
)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.995, warmup='1/(10t+1)', anneal='cosine'),
    dict(type='MemoryHook'),
]
auto_scale_lr = dict(base_batch_size=21)
