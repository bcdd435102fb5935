# CTT on the quickstart's data.
_base_ = [
    '../_base_/models/deeplabv3plus_r18-w16-d8.py',
    '../_base_/datasets/quickstart_batch4.py',
    '../_base_/schedules/quickstart.py',
    '../_base_/default_runtime.py',
]
model = dict(type='CTT', mix='cutmix', bank_size=32, bank_ready='class')
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
auto_scale_lr = dict(base_batch_size=8)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.98, warmup='1/(t+1)'),
    dict(type='MemoryHook'),
]
default_hooks = dict(checkpoint=dict(save_best='student0/mIoU'))
