# Both streams of CTT on VOC; teachers and students see the same image.
_base_ = './voc-aug_rotate321.py'
unlabeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RecordValidity'),
    {{_base_.resize}},
    {{_base_.rotate}},
    dict(type='RandomCrop', crop_size={{_base_.crop_size}}),
    {{_base_.pad}},
    {{_base_.flip}},
    dict(type='PackUnlabeledInputs'),
]
unlabeled = dict(
    batch_size=10,
    num_workers=4,
    dataset=dict(
        type='UnlabeledDataset',
        data_root={{_base_.data_root}},
        images='ImageSets/Segmentation/trainaug.txt',
        image_dir='JPEGImages',
        pipeline=unlabeled_pipeline,
    ),
)
train_dataloader = dict(unlabeled=unlabeled)
