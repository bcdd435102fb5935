# The quickstart's data for methods that augment on the device: plain crops.
_base_ = './quickstart.py'
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
    batch_size=4,
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
