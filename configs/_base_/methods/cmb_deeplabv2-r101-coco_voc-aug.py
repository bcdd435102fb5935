# CMB with DeepLabV2-R101 from COCO on VOC, where class 0 is background.
_base_ = [
    '../models/deeplabv2_r101-d8_coco.py',
    '../augment/cmb.py',
    '../default_runtime.py',
]
model = dict(
    type='CMB',
    # ClassMix pastes the background only if there is no other class
    weak_augment=dict(_base_.weak_augment, classmix_skip=0),
    strong_augment=dict(_base_.strong_augment, classmix_skip=0),
    # As many vectors as the published code: classes / 3 times those of Cityscapes
    contrast=dict(type='BankContrast', candidates=dict(ratio_factor=7)),
)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.995, warmup='1/(10t+1)', anneal='cosine'),
    dict(type='MemoryHook'),
]
