# Generated images, of the unlabeled ones two overlapping crops.
_base_ = './synthetic-320.py'
unlabeled = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(
                type='OverlapCrops',
                crop_size={{_base_.crop_size}},
                iou_range=(0.1, 1.0),
                stride=8,
                shared=[
                    dict(
                        type='RandomResize',
                        scale=(400, 400),
                        ratio_range=(0.8, 2.0),
                        keep_ratio=True,
                    )
                ],
                pipeline=[
                    dict(type='RandomFlip', prob=0.5),
                    dict(type='PhotoMetricDistortion'),
                ],
            ),
        ]
    )
)
