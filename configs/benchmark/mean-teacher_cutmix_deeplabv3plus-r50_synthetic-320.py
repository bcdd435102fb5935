# Mean teacher with CutMix, DeepLabV3+-R50, 4 + 4 images of 320 x 320: what
# tools/benchmark measures.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16.py',
    '../_base_/datasets/synthetic-320.py',
    '../_base_/schedules/adamw_800.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
# No threshold: untrained networks would keep no pixel, and leave work out
model = dict(
    type='MeanTeacher',
    pseudo_loss=dict(threshold=None),
    mix=dict(type='CutMix'),
    student=dict(backbone=dict(init_cfg=None, norm_cfg=dict(type='BN'))),
)
custom_hooks = [dict(type='MeanTeacherHook', decay=0.99)]
default_hooks = dict(checkpoint=dict(save_best='teacher/mIoU'))
