# Textured shapes, 96 x 96, few labels, made by:
#   mim run mmsemiseg make_synthetic --out data/quickstart --labeled 16 \
#       --unlabeled 300 --val 60 --difficulty 0.1
data_root = 'data/quickstart/'
crop_size = (80, 80)
labeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(96, 96), ratio_range=(0.85, 1.3), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
unlabeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiView',
        shared=[
            dict(
                type='RandomResize',
                scale=(96, 96),
                ratio_range=(0.85, 1.3),
                keep_ratio=True,
            ),
            dict(type='RandomCrop', crop_size=crop_size),
            dict(type='RandomFlip', prob=0.5),
        ],
        views=dict(weak=[], strong=[dict(type='PhotoMetricDistortion', hue_delta=5)]),
    ),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
prefix = dict(img_path='JPEGImages', seg_map_path='SegmentationClass')
labeled = dict(
    batch_size=8,
    num_workers=0,
    dataset=dict(
        type='SyntheticShapesDataset',
        data_root=data_root,
        data_prefix=prefix,
        ann_file='ImageSets/Segmentation/labeled.txt',
        pipeline=labeled_pipeline,
    ),
)
unlabeled = dict(
    batch_size=8,
    num_workers=0,
    dataset=dict(
        type='UnlabeledDataset',
        data_root=data_root,
        images='ImageSets/Segmentation/unlabeled.txt',
        image_dir='JPEGImages',
        pipeline=unlabeled_pipeline,
    ),
)
train_dataloader = dict(labeled=labeled)
val_dataloader = dict(
    batch_size=10,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='SyntheticShapesDataset',
        data_root=data_root,
        data_prefix=prefix,
        ann_file='ImageSets/Segmentation/val.txt',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='PerClassIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
