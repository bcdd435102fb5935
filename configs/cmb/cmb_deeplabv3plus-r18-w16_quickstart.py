# CMB on the quickstart's data.
_base_ = [
    '../_base_/models/deeplabv3plus_r18-w16-d8.py',
    '../_base_/datasets/quickstart_plain.py',
    '../_base_/augment/cmb_background0.py',
    '../_base_/schedules/quickstart.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='CMB',
    weak_augment={{_base_.weak_augment}},
    strong_augment={{_base_.strong_augment}},
    mix_start=150,
    pseudo_loss=dict(ramp_up=dict(kind='exp', length=150)),
    contrast=dict(
        type='BankContrast',
        start=150,
        proj_hidden=64,
        proj_channels=64,
        bank=dict(size=64),
        candidates=dict(start=75),
    ),
)
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.99, warmup='1/(t+1)', anneal='cosine'),
    dict(type='MemoryHook'),
]
