# ESL on the quickstart's data.
_base_ = [
    '../_base_/models/deeplabv3plus_r18-w16-d8.py',
    '../_base_/datasets/quickstart.py',
    '../_base_/schedules/quickstart.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='ESL',
    contrast=dict(projector=dict(type='ProjectionHead', channels=64), threshold=0.8),
)
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.98, warmup='1/(t+1)'),
    dict(type='PrototypeInitHook'),
]
default_hooks = dict(checkpoint=dict(save_best='teacher/mIoU'))
