# Both streams of CAC on Cityscapes; unlabeled: long side 1638 to 4096, crops of 720.
_base_ = ['./cityscapes_crop720.py', './view-colors.py']
unlabeled_resize = dict(
    type='RandomResize',
    scale=(2048, 2048),
    ratio_range=(0.8, 2.0),
    keep_ratio=True,
    backend='pillow',
    interpolation='bicubic',
)
unlabeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='OverlapCrops',
        crop_size={{_base_.crop_size}},
        iou_range=(0.1, 1.0),
        stride=8,
        pad_val={{_base_.mean_bgr}},
        shared=[unlabeled_resize],
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
train_dataloader = dict(unlabeled=unlabeled)
