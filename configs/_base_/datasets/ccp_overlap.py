# Clothing Co-Parsing; the unlabeled stream gives two overlapping crops.
_base_ = ['./ccp.py', './view-colors.py']
unlabeled = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(
                type='OverlapCrops',
                crop_size={{_base_.crop_size}},
                iou_range=(0.1, 1.0),
                stride=8,
                pad_val={{_base_.pad_bgr}},
                shared=[
                    dict(
                        type='RandomResize',
                        scale={{_base_.base_scale}},
                        ratio_range=(0.5, 2.0),
                        keep_ratio=True,
                    )
                ],
                pipeline={{_base_.crop_pipeline}},
            ),
        ]
    )
)
