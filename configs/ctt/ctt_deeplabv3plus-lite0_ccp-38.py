# CTT: 38 labels of CCP, 1 815 images unlabeled.
_base_ = [
    '../_base_/models/deeplabv3plus_lite0-d16.py',
    '../_base_/datasets/ccp.py',
    '../_base_/schedules/adamw-pretrained_500.py',
    '../_base_/default_runtime.py',
]
heads = dict(num_classes=18)
model = dict(
    type='CTT',
    student=dict(decode_head=heads, auxiliary_head=heads),
    pseudo_loss=dict(weight=0.2),
    contrast=dict(ready='class'),
)
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.95, warmup='1/(t+1)'),
    dict(type='MemoryHook'),
]
default_hooks = dict(checkpoint=dict(save_best='student0/mIoU'))
