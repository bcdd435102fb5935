# Both streams of ESL on Cityscapes; the views differ by CutMix alone.
_base_ = './cityscapes_crop769.py'
unlabeled = dict(
    batch_size=2,
    num_workers=4,
    dataset=dict(
        type='UnlabeledDataset',
        data_root={{_base_.data_root}},
        images='leftImg8bit/train',
        image_dir='leftImg8bit/train',
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
