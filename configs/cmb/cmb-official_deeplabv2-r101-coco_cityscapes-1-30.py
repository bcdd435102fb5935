# CMB by the published code, DeepLabV2-R101 from COCO, 1/30 of Cityscapes, 100 labels.
_base_ = [
    '../_base_/methods/cmb_deeplabv2-r101-coco_cityscapes.py',
    '../_base_/augment/cmb_official.py',
    '../_base_/datasets/cityscapes_val-half.py',
    '../_base_/datasets/cityscapes_half512_unlabeled.py',
    '../_base_/schedules/sgd-2e-4_150k.py',
]
model = dict(
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
    class_balance=dict(start=2001, median='all', keep_labels='first'),
)
split = 'splits/1-30_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
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
