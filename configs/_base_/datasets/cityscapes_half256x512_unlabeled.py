# Both streams of CTT on Cityscapes; teachers and students see the same image.
_base_ = './cityscapes_half256x512.py'
unlabeled_pipeline = [
    dict(type='LoadImageFromFile'),
    {{_base_.half}},
    dict(type='RecordValidity'),
    {{_base_.rotate}},
    dict(type='RandomCrop', crop_size={{_base_.crop_size}}),
    {{_base_.flip}},
    dict(type='PackUnlabeledInputs'),
]
unlabeled = dict(
    batch_size=2,
    num_workers=4,
    dataset=dict(
        type='UnlabeledDataset',
        data_root={{_base_.data_root}},
        images='leftImg8bit/train',
        image_dir='leftImg8bit/train',
        pipeline=unlabeled_pipeline,
    ),
)
train_dataloader = dict(unlabeled=unlabeled)
