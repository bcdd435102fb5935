# CAC by the paper's text, PSPNet-R50, 1/8 of VOC aug, 1 323 labels.
_base_ = [
    '../_base_/methods/cac_pspnet-r50.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_overlap320-paper.py',
    '../_base_/schedules/sgd-1e-2_92560.py',
]
model = dict(
    contrast=dict(
        num_negatives=4800,
        norm='overlap',
        exclude_same_location=True,
        pseudo_dropout=False,
    )
)
split = 'splits/1-8_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
