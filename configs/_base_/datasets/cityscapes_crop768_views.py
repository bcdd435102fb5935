# Both streams of RC²L on Cityscapes: a weak and a strong view of each unlabeled crop.
_base_ = ['./cityscapes_crop768.py', './strong-colors.py']
unlabeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiView',
        shared=[
            {{_base_.resize}},
            dict(type='RandomCrop', crop_size={{_base_.crop_size}}),
            {{_base_.pad}},
            {{_base_.flip}},
        ],
        views=dict(weak=[], strong={{_base_.strong_colors}}),
    ),
]
# On each of 4 GPUs: 8 unlabeled images a step. One image alone could not be mixed.
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
