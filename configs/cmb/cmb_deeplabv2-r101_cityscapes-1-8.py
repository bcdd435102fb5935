# CMB, DeepLabV2-R101 from ImageNet, 1/8 of Cityscapes, 372 labels: Table 2.
_base_ = [
    '../_base_/methods/cmb_deeplabv2-r101_cityscapes.py',
    '../_base_/datasets/cityscapes_val-half.py',
    '../_base_/datasets/cityscapes_half512_unlabeled.py',
    '../_base_/schedules/sgd-2e-4_150k.py',
]
split = 'splits/1-8_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
