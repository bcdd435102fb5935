# CAC, DeepLabV3+-R50, 1/8 of Cityscapes, 372 labels: Table 2.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16_cac.py',
    '../_base_/datasets/cityscapes_val.py',
    '../_base_/datasets/cityscapes_overlap720.py',
    '../_base_/schedules/sgd-1e-1_92560.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='CAC',
    student=dict(decode_head=dict(num_classes=19)),
    contrast=dict(type='OverlapContrast', pool=2, start=5785),
)
split = 'splits/1-8_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
