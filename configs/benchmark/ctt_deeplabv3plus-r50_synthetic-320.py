# CTT, two pairs of DeepLabV3+-R50, 2 + 2 images of 320 x 320: what tools/benchmark
# measures.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16.py',
    '../_base_/schedules/adamw_800.py',
    '../_base_/default_runtime.py',
]
# The tools write these images into a temporary folder in place of data_root; or
# `synthetic` with --size 400 of tools/make_synthetic.py does, to train on them.
synthetic = dict(counts=dict(labeled=16, unlabeled=32, val=4), size=400)
# By the tools, too: untrained networks predict few classes right
full_banks = True
data_root = 'data/benchmark/'
crop = dict(type='RandomCrop', crop_size=(320, 320))
prefix = dict(img_path='JPEGImages', seg_map_path='SegmentationClass')
labeled = dict(
    batch_size=2,
    num_workers=2,
    dataset=dict(
        type='SyntheticShapesDataset',
        data_root=data_root,
        data_prefix=prefix,
        ann_file='ImageSets/Segmentation/labeled.txt',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            crop,
            dict(type='PackSegInputs'),
        ],
    ),
)
unlabeled = dict(
    batch_size=2,
    num_workers=2,
    dataset=dict(
        type='UnlabeledDataset',
        data_root=data_root,
        images='ImageSets/Segmentation/unlabeled.txt',
        image_dir='JPEGImages',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='RecordValidity'),
            crop,
            dict(type='PackUnlabeledInputs'),
        ],
    ),
)
train_dataloader = dict(labeled=labeled, unlabeled=unlabeled)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='SyntheticShapesDataset',
        data_root=data_root,
        data_prefix=prefix,
        ann_file='ImageSets/Segmentation/val.txt',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='PerClassIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
# Untrained networks are never surer than 0.75. The median of their confidences in its
# place: half of the cells are at the high level
model = dict(
    type='CTT',
    student=dict(backbone=dict(init_cfg=None, norm_cfg=dict(type='BN'))),
    threshold=0.058,
)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.99),
    dict(type='MemoryHook'),
]
default_hooks = dict(checkpoint=dict(save_best='student0/mIoU'))
