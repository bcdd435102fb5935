# CTT, DeepLabV3+-R101, 1/4 of the 1 464 masks of VOC 2012,
# 366 labels: Table 3.
_base_ = [
    '../_base_/models/deeplabv3plus_r101-d16.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_rotate321_unlabeled.py',
    '../_base_/schedules/sgd-25e-5_80k.py',
    '../_base_/default_runtime.py',
]
model = dict(type='CTT')
split = 'splits/classic-1-4/'
train_dataloader = dict(
    labeled=dict(
        dataset=dict(
            ann_file=split + 'labeled.txt',
            data_prefix=dict(seg_map_path='SegmentationClass'),
        )
    ),
    unlabeled=dict(dataset=dict(exclude=split + 'labeled.txt')),
)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.99, warmup=None),
    dict(type='MemoryHook'),
]
default_hooks = dict(checkpoint=dict(save_best='student0/mIoU'))
auto_scale_lr = dict(base_batch_size=20)
