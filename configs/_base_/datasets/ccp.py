# Clothing Co-Parsing, long side 208, crops of 128; metrics at the full size (320).
# 38 labels with all classes among them:
#   python tools/make_split.py --images data/ccp/images/train \
#       --masks data/ccp/labels/train --count 38 --stratified --seed 0 \
#       --out data/ccp/splits/38
# Unlabeled are the 1 094 images that have no masks, and the other 721 of training; for
# the 1 094 alone set images='images/unlabeled' and exclude=None. Crops of persons hold
# enough classes, so that cat_max_ratio has little to do, whatever its value. Where a
# resized image is smaller than the crop, padding (127: 0 after EfficientNet Lite's
# normalisation) is ignored in labels and not valid in unlabeled images.
data_root = 'data/ccp/'
split = 'splits/38/'
crop_size = (128, 128)
base_scale = (208, 208)  # the long side: every image in its own size
pad_bgr = (127, 127, 127)
pad = dict(type='Pad', size=crop_size, pad_val=dict(img=pad_bgr, seg=255))
labeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomResize', scale=base_scale, ratio_range=(0.5, 2.0), keep_ratio=True
    ),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    pad,
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
                ratio_range=(0.5, 2.0),
                keep_ratio=True,
            ),
            dict(type='RandomCrop', crop_size=crop_size),
            pad,
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
        type='CCPDataset',
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
        images=['images/unlabeled', 'images/train'],
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
        type='CCPDataset',
        data_root=data_root,
        data_prefix=dict(img_path='images/val', seg_map_path='labels/val'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='PerClassIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
