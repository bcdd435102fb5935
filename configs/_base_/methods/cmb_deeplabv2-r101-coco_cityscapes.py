# CMB with DeepLabV2-R101 from COCO on Cityscapes: classes in balance.
_base_ = [
    '../models/deeplabv2_r101-d8_coco.py',
    '../augment/cmb.py',
    '../default_runtime.py',
]
model = dict(
    type='CMB',
    # That of Cityscapes, in BGR
    data_preprocessor=dict(mean=[72.39239876, 82.90891754, 73.15835921]),
    student=dict(
        decode_head=dict(
            num_classes=19,
            loss_decode=dict(_delete_=True, type='BalancedCrossEntropy'),
        )
    ),
    weak_augment={{_base_.weak_augment}},
    strong_augment={{_base_.strong_augment}},
    contrast=dict(type='BankContrast'),
    class_balance=dict(type='ClassBalance'),
)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.995, warmup='1/(10t+1)', anneal='cosine'),
    dict(type='MemoryHook'),
]
