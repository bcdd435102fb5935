# Table 4, 500 negatives per GPU: 125 cells of each crop in two steps.
_base_ = [
    '../../_base_/methods/cac_pspnet-r50.py',
    '../../_base_/datasets/voc_val.py',
    '../../_base_/datasets/voc-aug_overlap320.py',
    '../../_base_/schedules/sgd-1e-2_92560.py',
]
model = dict(contrast=dict(num_negatives=125))
split = 'splits/1-8_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
