# CMB with DeepLabV3+-R50 on Cityscapes: classes in balance.
_base_ = [
    '../models/deeplabv3plus_r50-d16_cmb.py',
    '../augment/cmb.py',
    '../default_runtime.py',
]
model = dict(
    type='CMB',
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
