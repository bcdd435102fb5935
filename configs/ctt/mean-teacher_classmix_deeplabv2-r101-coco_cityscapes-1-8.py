# Table 5: mean teacher with ClassMix as published (Olsson et al., WACV 2021), with the
# data and the length of CTT.
_base_ = [
    '../_base_/models/deeplabv2_r101-d8_coco.py',
    '../_base_/datasets/cityscapes_val-half.py',
    '../_base_/datasets/cityscapes_half256x512_unlabeled.py',
    '../_base_/schedules/sgd-25e-5_80k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='MeanTeacher',
    # That of Cityscapes, in BGR
    data_preprocessor=dict(mean=[72.39239876, 82.90891754, 73.15835921]),
    student=dict(decode_head=dict(num_classes=19)),
    pseudo_loss=dict(threshold=None, share_threshold=0.968),
    mix=dict(type='ClassMix'),
    teacher=dict(mode='train', buffers='own'),
    predict_with='student',
)
colors = [
    dict(
        type='ColorJitter',
        brightness=0.25,
        contrast=0.25,
        saturation=0.25,
        hue=0.25,
        prob=0.8,
    ),
    dict(type='GaussianBlur', kernel_size=5, sigma=0.65, prob=0.5),
]
unlabeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiView',
        shared=[
            {{_base_.half}},
            {{_base_.rotate}},
            dict(type='RandomCrop', crop_size={{_base_.crop_size}}),
            {{_base_.flip}},
        ],
        views=dict(weak=[], strong=colors),
    ),
]
split = 'splits/1-8_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
    unlabeled=dict(
        dataset=dict(images=split + 'unlabeled.txt', pipeline=unlabeled_pipeline)
    ),
)
custom_hooks = [dict(type='MeanTeacherHook', decay=0.99, warmup='1/(t+1)')]
