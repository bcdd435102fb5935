# Generated images for methods that augment on the device, or not: plain crops.
_base_ = './synthetic-320.py'
labeled = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='RandomCrop', crop_size={{_base_.crop_size}}),
            dict(type='PackSegInputs'),
        ]
    )
)
unlabeled = dict(
    batch_size=2,
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='RecordValidity'),
            dict(type='RandomCrop', crop_size={{_base_.crop_size}}),
            dict(type='PackUnlabeledInputs'),
        ]
    ),
)
train_dataloader = dict(labeled=labeled)
