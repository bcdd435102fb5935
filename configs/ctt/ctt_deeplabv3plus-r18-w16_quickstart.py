# CTT on the quickstart's data.
_base_ = [
    '../_base_/models/deeplabv3plus_r18-w16-d8.py',
    '../_base_/datasets/quickstart_batch4.py',
    '../_base_/schedules/quickstart_800.py',
    '../_base_/default_runtime.py',
]
# From scratch, and pseudo labels have no threshold: with their full weight most pixels
# become background.
model = dict(
    type='CTT',
    mix=dict(type='CutMix'),
    pseudo_loss=dict(weight=0.2),
    contrast=dict(bank=dict(size=32), ready='class'),
)
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
auto_scale_lr = dict(base_batch_size=8)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.98, warmup='1/(t+1)'),
    dict(type='MemoryHook'),
]
default_hooks = dict(checkpoint=dict(save_best='student0/mIoU'))
