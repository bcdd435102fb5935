# CMB with GTA5 as labeled source, DeepLabV2-R101 from ImageNet, 1/6 of Cityscapes, 500
# labels: Table 4.
_base_ = [
    '../_base_/methods/cmb_deeplabv2-r101_cityscapes.py',
    '../_base_/datasets/cityscapes_val-half.py',
    '../_base_/datasets/gta5-cityscapes_half512.py',
    '../_base_/schedules/sgd-2e-4_150k.py',
]
split = 'splits/1-6_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.995, warmup='1/(t+1)', anneal='cosine'),
    dict(type='MemoryHook'),
]
auto_scale_lr = dict(base_batch_size=12)
