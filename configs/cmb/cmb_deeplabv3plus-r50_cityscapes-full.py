# CMB, DeepLabV3+-R50, all 2 975 labels of Cityscapes, the same images unlabeled: Table
# 2.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16_cmb.py',
    '../_base_/datasets/cityscapes_crop512_unlabeled.py',
    '../_base_/augment/cmb.py',
    '../_base_/schedules/sgd-4e-4_150k.py',
    '../_base_/default_runtime.py',
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
    class_balance=dict(labels=425, pseudo=991),
)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.995, warmup='1/(10t+1)', anneal='cosine'),
    dict(type='MemoryHook'),
]
auto_scale_lr = dict(base_batch_size=10)
