# CAC, DeepLabV3+-R50, 1/16 of VOC aug, 662 labels: Table 1.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16_cac.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_overlap320.py',
    '../_base_/schedules/sgd-1e-2_92560.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='CAC',
    contrast=dict(
        type='OverlapContrast',
        pool=2,
        num_negatives=6400,
        bank=dict(type='StepQueue', steps=1),
        start=5785,
    ),
)
split = 'splits/1-16_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
custom_hooks = [dict(type='MemoryHook')]
