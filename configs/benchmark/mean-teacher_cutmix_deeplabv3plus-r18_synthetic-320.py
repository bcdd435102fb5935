# Mean teacher with CutMix, 4 + 4 images of 320 x 320: what tools/benchmark measures.
_base_ = [
    '../_base_/models/deeplabv3plus_r18-d16.py',
    '../_base_/datasets/synthetic-320.py',
    '../_base_/schedules/adamw_800.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
# No threshold: untrained networks would keep no pixel, and leave work out
model = dict(
    type='MeanTeacher', pseudo_loss=dict(threshold=None), mix=dict(type='CutMix')
)
custom_hooks = [dict(type='MeanTeacherHook', decay=0.99)]
default_hooks = dict(checkpoint=dict(save_best='teacher/mIoU'))
