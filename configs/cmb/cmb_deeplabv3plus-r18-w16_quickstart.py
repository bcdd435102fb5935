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
    proj_hidden=64,
    proj_channels=64,
    weak_augment={{_base_.weak_augment}},
    strong_augment={{_base_.strong_augment}},
    ramp_up=dict(kind='exp', length=150),
    mix_start=150,
    bank_size=64,
    bank_start=75,
    contrast_start=150,
    enqueue_number=4,  # 64 / 16
)
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.99, warmup='1/(t+1)', anneal='cosine'),
    dict(type='MemoryHook'),
]
