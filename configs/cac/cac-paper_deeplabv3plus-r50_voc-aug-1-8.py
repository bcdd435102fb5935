# CAC by the paper's text, DeepLabV3+-R50, 1/8 of VOC aug, 1 323 labels.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16_cac.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_overlap320-paper.py',
    '../_base_/schedules/sgd-1e-2_92560.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='CAC',
    contrast=dict(
        type='OverlapContrast',
        pool=2,
        num_negatives=4800,
        bank=dict(type='StepQueue', steps=1),
        norm='overlap',
        exclude_same_location=True,
        pseudo_dropout=False,
        start=5785,
    ),
)
split = 'splits/1-8_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
custom_hooks = [dict(type='MemoryHook')]
