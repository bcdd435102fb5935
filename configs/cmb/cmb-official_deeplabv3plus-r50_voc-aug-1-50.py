# CMB by the published code, DeepLabV3+-R50, 1/50 of VOC aug, 212 labels.
_base_ = [
    '../_base_/methods/cmb_deeplabv3plus-r50_voc-aug.py',
    '../_base_/augment/cmb_official_background0.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_crop321_unlabeled.py',
    '../_base_/schedules/sgd-4e-4_150k.py',
]
model = dict(
    # The mean of the data set, in RGB
    data_preprocessor=dict(
        mean=[122.6789143, 116.66876762, 104.00698793], std=[255, 255, 255]
    ),
    # The published head: element-wise dropout; all convolutions begin alike
    student=dict(
        decode_head=dict(
            dropout_per='element',
            init_cfg=dict(type='Normal', layer='Conv2d', std=0.01),
        )
    ),
    mix_start=2001,
    unlabeled_first=True,
    weak_augment={{_base_.weak_official}},
    strong_augment={{_base_.strong_official}},
    contrast=dict(
        start=2001,
        memory_attention=False,
        attention_input='unit',
        candidates=dict(
            rank='lowest',
            rank_by='prediction',
            start=1001,  # "t > 1000"
        ),
    ),
)
split = 'splits/1-50_0/'
train_dataloader = dict(
    labeled=dict(batch_size=20, dataset=dict(ann_file=split + 'labeled.txt')),
    unlabeled=dict(batch_size=10, dataset=dict(images=split + 'unlabeled.txt')),
)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.995, warmup='1/(10t+1)', anneal='cosine'),
    dict(type='MemoryHook'),
    dict(
        type='ReloadBestHook',
        patience=30001,  # "> 150000 / 5"
        metric='student/mIoU',
        teacher='student',
    ),
    dict(
        type='BatchNormReestimationHook',
        batches=1000,
        momentum=0.1,
        best='student/mIoU',
    ),
]
optim_wrapper = dict(optimizer=dict(lr=2e-4))
auto_scale_lr = dict(base_batch_size=30)
