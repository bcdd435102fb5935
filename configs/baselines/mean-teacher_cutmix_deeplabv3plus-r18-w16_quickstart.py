# Mean teacher with CutMix on the quickstart's data.
_base_ = [
    '../_base_/models/deeplabv3plus_r18-w16-d8.py',
    '../_base_/datasets/quickstart.py',
    '../_base_/schedules/quickstart.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='MeanTeacher', pseudo_loss=dict(threshold=0.6), mix=dict(type='CutMix')
)
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
custom_hooks = [dict(type='MeanTeacherHook', decay=0.98, warmup='1/(t+1)')]
default_hooks = dict(checkpoint=dict(save_best='teacher/mIoU'))
