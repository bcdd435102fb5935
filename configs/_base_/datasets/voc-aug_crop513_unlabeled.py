# Both streams of ESL on VOC; the views differ by CutMix alone.
_base_ = './voc-aug_crop513.py'
unlabeled = dict(
    batch_size=2,
    num_workers=4,
    dataset=dict(
        type='UnlabeledDataset',
        data_root={{_base_.data_root}},
        images='ImageSets/Segmentation/trainaug.txt',
        image_dir='JPEGImages',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='RecordValidity'),
            {{_base_.resize}},
            {{_base_.crop}},
            {{_base_.pad}},
            {{_base_.flip}},
            dict(type='PackUnlabeledInputs'),
        ],
    ),
)
train_dataloader = dict(unlabeled=unlabeled)
