# Table 3, row IV: no filter of positives.
_base_ = [
    '../../_base_/methods/cac_pspnet-r50.py',
    '../../_base_/datasets/voc_val.py',
    '../../_base_/datasets/voc-aug_overlap320.py',
    '../../_base_/schedules/sgd-1e-2_92560.py',
]
model = dict(contrast=dict(threshold=None))
split = 'splits/1-8_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
