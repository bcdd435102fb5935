# CMB, DeepLabV2-R101 from COCO, all 2 975 labels of Cityscapes, the same images
# unlabeled: Table 2.
_base_ = [
    '../_base_/models/deeplabv2_r101-d8_coco.py',
    '../_base_/datasets/cityscapes_half512_unlabeled.py',
    '../_base_/augment/cmb.py',
    '../_base_/schedules/sgd-2e-4_150k.py',
    '../_base_/default_runtime.py',
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
    class_balance=dict(labels=595, pseudo=1487),
)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.995, warmup='1/(10t+1)', anneal='cosine'),
    dict(type='MemoryHook'),
]
