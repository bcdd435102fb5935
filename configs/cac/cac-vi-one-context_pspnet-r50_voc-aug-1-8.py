# Table 3, row VI: identical crops, so one context.
_base_ = './cac_pspnet-r50_voc-aug-1-8.py'
train_dataloader = dict(
    unlabeled=dict(
        dataset=dict(
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
            ]
        )
    )
)
