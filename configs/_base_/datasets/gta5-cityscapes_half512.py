# The streams of CMB from GTA5 (labeled, `source`) to Cityscapes, all at half size.
_base_ = './cityscapes_half512.py'
unlabeled_pipeline = [
    dict(type='LoadImageFromFile'),
    {{_base_.half}},
    dict(type='RecordValidity'),
    dict(type='RandomCrop', crop_size={{_base_.crop_size}}),
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
source = dict(
    batch_size=5,
    num_workers=4,
    dataset=dict(
        type='GTA5Dataset',
        data_root='data/gta5/',
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        pipeline={{_base_.labeled_pipeline}},
    ),
)
train_dataloader = dict(unlabeled=unlabeled, source=source)
