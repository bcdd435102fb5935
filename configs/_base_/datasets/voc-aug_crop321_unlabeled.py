# Both streams of CMB on VOC.
_base_ = './voc-aug_crop321.py'
unlabeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RecordValidity'),
    dict(type='RandomCrop', crop_size={{_base_.crop_size}}),
    {{_base_.pad}},
    dict(type='PackUnlabeledInputs'),
]
unlabeled = dict(
    batch_size=7,
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
