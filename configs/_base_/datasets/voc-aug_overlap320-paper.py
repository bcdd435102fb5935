# Both streams of CAC on VOC by the paper's text: unlabeled images are resized as the
# labeled ones.
_base_ = './voc-aug_overlap320.py'
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
train_dataloader = dict(
    unlabeled=dict(dataset=dict(pipeline=unlabeled_pipeline)),
)
