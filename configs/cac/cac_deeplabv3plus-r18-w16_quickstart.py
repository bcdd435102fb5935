# CAC on the quickstart's data.
_base_ = [
    '../_base_/models/deeplabv3plus_r18-w16-d8.py',
    '../_base_/datasets/quickstart_overlap.py',
    '../_base_/schedules/quickstart.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='CAC',
    pool=2,
    proj_channels=32,
    num_negatives=800,
    bank_steps=1,
    start_iter=75,
)
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
custom_hooks = [dict(type='MemoryHook')]
