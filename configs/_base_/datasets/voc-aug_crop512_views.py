# Both streams of RC²L on VOC: a weak and a strong view of each unlabeled crop.
_base_ = ['./voc-aug_crop512.py', './strong-colors.py']
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
# On each of 4 GPUs: 8 unlabeled images a step.
unlabeled = dict(
    batch_size=2,
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
