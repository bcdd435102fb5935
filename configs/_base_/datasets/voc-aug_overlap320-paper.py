# Both streams of CAC on VOC by the paper's text: unlabeled images are resized as the
# labeled ones.
_base_ = ['./voc-aug_crop320.py', './view-colors.py']
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
    batch_size=4,
    num_workers=4,
    dataset=dict(
        type='UnlabeledDataset',
        data_root={{_base_.data_root}},
        images='ImageSets/Segmentation/trainaug.txt',
        image_dir='JPEGImages',
        pipeline=unlabeled_pipeline,
    ),
)
train_dataloader = dict(unlabeled=unlabeled)
