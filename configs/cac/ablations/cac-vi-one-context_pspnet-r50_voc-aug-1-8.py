# Table 3, row VI: identical crops, so one context.
_base_ = [
    '../../_base_/methods/cac_pspnet-r50.py',
    '../../_base_/datasets/voc_val.py',
    '../../_base_/datasets/voc-aug_overlap320.py',
    '../../_base_/schedules/sgd-1e-2_92560.py',
]
split = 'splits/1-8_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
    unlabeled=dict(
        dataset=dict(
            images=split + 'unlabeled.txt',
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(
                    type='OverlapCrops',
                    crop_size={{_base_.crop_size}},
                    iou_range=(1.0, 1.0),
                    stride=8,
                    pad_val={{_base_.mean_bgr}},
                    shared=[{{_base_.unlabeled_resize}}],
                    pipeline={{_base_.crop_pipeline}},
                ),
            ],
        )
    ),
)
