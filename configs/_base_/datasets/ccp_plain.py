# Clothing Co-Parsing for methods that augment on the device: plain crops.
_base_ = './ccp.py'
labeled = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='Resize', scale={{_base_.base_scale}}, keep_ratio=True),
            dict(
                type='RandomCrop',
                crop_size={{_base_.crop_size}},
                cat_max_ratio=0.75,
            ),
            {{_base_.pad}},
            dict(type='PackSegInputs'),
        ]
    )
)
unlabeled = dict(
    batch_size=4,
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='RecordValidity'),
            dict(type='Resize', scale={{_base_.base_scale}}, keep_ratio=True),
            dict(type='RandomCrop', crop_size={{_base_.crop_size}}),
            {{_base_.pad}},
            dict(type='PackUnlabeledInputs'),
        ]
    ),
)
train_dataloader = dict(labeled=labeled)
