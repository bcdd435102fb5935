# CamVid at half resolution (240 x 180); metrics at the labels' full size (480 x 360).
# 24 labels of the sequences 0001TP and 0006R0, all other frames unlabeled:
#   python tools/make_split.py --images data/camvid/images/train \
#       --masks data/camvid/labels/train --prefix 0001TP --prefix 0006R0 \
#       --count 24 --even --out data/camvid/splits/seq-24
data_root = 'data/camvid/'
split = 'splits/seq-24/'
crop_size = (128, 160)
base_scale = (240, 180)
labeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomResize',
        scale=base_scale,
        ratio_range=(0.75, 1.75),
        keep_ratio=True,
    ),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
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
                scale=base_scale,
                ratio_range=(0.75, 1.75),
                keep_ratio=True,
            ),
            dict(type='RandomCrop', crop_size=crop_size),
            dict(type='RandomFlip', prob=0.5),
        ],
        views=dict(weak=[], strong=[dict(type='PhotoMetricDistortion')]),
    ),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=base_scale, keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
labeled = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(
        type='CamVidDataset',
        data_root=data_root,
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
        ann_file=split + 'labeled.txt',
        pipeline=labeled_pipeline,
    ),
)
unlabeled = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(
        type='UnlabeledDataset',
        data_root=data_root,
        images='images/train',
        exclude=split + 'labeled.txt',
        pipeline=unlabeled_pipeline,
    ),
)
train_dataloader = dict(labeled=labeled)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CamVidDataset',
        data_root=data_root,
        data_prefix=dict(img_path='images/val', seg_map_path='labels/val'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='PerClassIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
