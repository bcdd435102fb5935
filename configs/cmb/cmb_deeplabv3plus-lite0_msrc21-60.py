# CMB: 60 labels of MSRC-21, the other 337 images unlabeled.
_base_ = [
    '../_base_/models/deeplabv3plus_lite0-d16.py',
    '../_base_/datasets/msrc21_plain.py',
    '../_base_/augment/cmb.py',
    '../_base_/schedules/adamw-pretrained_500.py',
    '../_base_/default_runtime.py',
]
balanced = dict(_delete_=True, type='BalancedCrossEntropy')
model = dict(
    type='CMB',
    student=dict(
        decode_head=dict(num_classes=21, loss_decode=balanced),
        auxiliary_head=dict(
            num_classes=21, loss_decode=dict(loss_weight=0.4, **balanced)
        ),
    ),
    weak_augment={{_base_.weak_augment}},
    strong_augment={{_base_.strong_augment}},
    mix_start=100,
    pseudo_loss=dict(ramp_up=dict(kind='exp', length=100)),
    contrast=dict(type='BankContrast', start=100, candidates=dict(start=50)),
    class_balance=dict(start=100),
)
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.95, warmup='1/(t+1)', anneal='cosine'),
    dict(type='MemoryHook'),
]
