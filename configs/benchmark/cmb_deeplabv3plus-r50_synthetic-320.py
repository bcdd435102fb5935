# CMB, DeepLabV3+-R50, 4 labeled images and 2 x 2 augmentations of 320 x 320: what
# tools/benchmark measures.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16_cmb.py',
    '../_base_/augment/cmb_background0.py',
    '../_base_/schedules/adamw_800.py',
    '../_base_/default_runtime.py',
]
# The tools write these images into a temporary folder in place of data_root; or
# `synthetic` with --size 400 of tools/make_synthetic.py does, to train on them.
synthetic = dict(counts=dict(labeled=16, unlabeled=32, val=4), size=400)
data_root = 'data/benchmark/'
crop = dict(type='RandomCrop', crop_size=(320, 320))
prefix = dict(img_path='JPEGImages', seg_map_path='SegmentationClass')
labeled = dict(
    batch_size=4,
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
# Everything from the first step on. No filter: an untrained network would predict few
# pixels right, and leave out work
model = dict(
    type='CMB',
    student=dict(backbone=dict(init_cfg=None, norm_cfg=dict(type='BN'))),
    weak_augment={{_base_.weak_augment}},
    strong_augment={{_base_.strong_augment}},
    ramp_up=None,
    mix_start=0,
    bank_start=0,
    contrast_start=0,
    quality_filter=False,
    enqueue_number=7,
)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.995, warmup='1/(10t+1)', anneal='cosine'),
    dict(type='MemoryHook'),
]
