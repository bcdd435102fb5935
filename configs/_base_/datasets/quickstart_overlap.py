# The quickstart's data; the unlabeled stream gives two overlapping crops. Their classes
# differ by colour: the colours change little.
_base_ = './quickstart.py'
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
                        scale=(96, 96),
                        ratio_range=(0.85, 1.3),
                        keep_ratio=True,
                    )
                ],
                pipeline=[
                    dict(type='RandomFlip', prob=0.5),
                    dict(type='PhotoMetricDistortion', hue_delta=5),
                ],
            ),
        ]
    )
)
