# CTT without contrast: the two teachers cross, and no more.
_base_ = [
    '../_base_/models/deeplabv3plus_r18-d16.py',
    '../_base_/datasets/camvid-half.py',
    '../_base_/schedules/adamw_800.py',
    '../_base_/default_runtime.py',
]
heads = dict(num_classes=11)
# From scratch, and pseudo labels have no threshold: with their full weight whole
# classes are lost.
model = dict(
    type='CTT',
    student=dict(decode_head=heads, auxiliary_head=heads),
    pseudo_loss=dict(weight=0.2),
    contrast=None,
)
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
custom_hooks = [dict(type='MeanTeacherHook', decay=0.99, warmup='1/(t+1)')]
default_hooks = dict(checkpoint=dict(save_best='student0/mIoU'))
