# Dynamic soft labels of ESL: 24 labels of CamVid, the other 343 frames unlabeled.
_base_ = [
    '../_base_/models/deeplabv3plus_lite0-d16.py',
    '../_base_/datasets/camvid-half.py',
    '../_base_/schedules/adamw-pretrained_500.py',
    '../_base_/default_runtime.py',
]
heads = dict(num_classes=11)
model = dict(
    type='ESL',
    student=dict(decode_head=heads, auxiliary_head=heads),
    contrast=None,
)
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.95, warmup='1/(t+1)'),
]
default_hooks = dict(checkpoint=dict(save_best='teacher/mIoU'))
