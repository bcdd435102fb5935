# Both streams of CAC on Cityscapes by the paper's text: unlabeled images are resized as
# the labeled ones, and the colours of these stay.
_base_ = ['./cityscapes_crop720.py', './view-colors.py']
labeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    {{_base_.labeled_resize}},
    dict(type='RandomCrop', crop_size={{_base_.crop_size}}),
    dict(
        type='Pad',
        size={{_base_.crop_size}},
        pad_val=dict(img={{_base_.mean_bgr}}, seg=255),
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
unlabeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='OverlapCrops',
        crop_size={{_base_.crop_size}},
        iou_range=(0.1, 1.0),
        stride=8,
        pad_val={{_base_.mean_bgr}},
        shared=[{{_base_.labeled_resize}}],
        pipeline={{_base_.crop_pipeline}},
    ),
]
unlabeled = dict(
    batch_size=2,
    num_workers=4,
    dataset=dict(
        type='UnlabeledDataset',
        data_root={{_base_.data_root}},
        images='leftImg8bit/train',
        image_dir='leftImg8bit/train',
        pipeline=unlabeled_pipeline,
    ),
)
train_dataloader = dict(
    labeled=dict(dataset=dict(pipeline=labeled_pipeline)), unlabeled=unlabeled
)
