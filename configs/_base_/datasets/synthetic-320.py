# Generated images of 400 x 400, crops of 320 x 320: for tools/benchmark.
# The tools write these images into a temporary folder in place of data_root; or
# `synthetic` with --size 400 of tools/make_synthetic.py does, to train on them.
synthetic = dict(counts=dict(labeled=16, unlabeled=32, val=4), size=400)
data_root = 'data/benchmark/'
crop_size = (320, 320)
geometry = [
    dict(
        type='RandomResize', scale=(400, 400), ratio_range=(0.8, 2.0), keep_ratio=True
    ),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
]
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
            *geometry,
            dict(type='PackSegInputs'),
        ],
    ),
)
unlabeled = dict(
    batch_size=4,
    num_workers=2,
    dataset=dict(
        type='UnlabeledDataset',
        data_root=data_root,
        images='ImageSets/Segmentation/unlabeled.txt',
        image_dir='JPEGImages',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(
                type='MultiView',
                shared=geometry,
                views=dict(weak=[], strong=[dict(type='PhotoMetricDistortion')]),
            ),
        ],
    ),
)
train_dataloader = dict(labeled=labeled)
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
