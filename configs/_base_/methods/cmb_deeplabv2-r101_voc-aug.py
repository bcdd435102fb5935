# CMB with DeepLabV2-R101 from ImageNet on VOC, where class 0 is background.
_base_ = [
    '../models/deeplabv2_r101-d8.py',
    '../augment/cmb_background0.py',
    '../default_runtime.py',
]
model = dict(
    type='CMB',
    weak_augment={{_base_.weak_augment}},
    strong_augment={{_base_.strong_augment}},
    # As many vectors as the published code: classes / 3 times those of Cityscapes
    contrast=dict(type='BankContrast', candidates=dict(ratio_factor=7)),
)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.995, warmup='1/(10t+1)', anneal='cosine'),
    dict(type='MemoryHook'),
]
