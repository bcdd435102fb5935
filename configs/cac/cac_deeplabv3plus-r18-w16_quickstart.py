# CAC on the quickstart's data.
_base_ = [
    '../_base_/models/deeplabv3plus_r18-w16-d8.py',
    '../_base_/datasets/quickstart_overlap.py',
    '../_base_/schedules/quickstart.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='CAC',
    contrast=dict(
        type='OverlapContrast',
        pool=2,
        num_negatives=800,
        bank=dict(type='StepQueue', steps=1),
        start=75,
        projector=dict(type='ProjectionHead', channels=32),
    ),
)
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
custom_hooks = [dict(type='MemoryHook')]
