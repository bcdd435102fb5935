# CMB with GTA5 as labeled source, DeepLabV2-R101 from ImageNet, 1/30 of Cityscapes, 100
# labels: Table 4.
_base_ = [
    '../_base_/models/deeplabv2_r101-d8.py',
    '../_base_/datasets/gta5-cityscapes_half512.py',
    '../_base_/augment/cmb.py',
    '../_base_/schedules/sgd-2e-4_150k.py',
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
    enqueue_number=3,
    class_balance=dict(labels=20, pseudo=1437),
)
split = 'splits/1-30_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.995, warmup='1/(t+1)', anneal='cosine'),
    dict(type='MemoryHook'),
]
auto_scale_lr = dict(base_batch_size=12)
