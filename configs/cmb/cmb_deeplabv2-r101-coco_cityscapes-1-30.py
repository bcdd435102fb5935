# CMB, DeepLabV2-R101 from COCO, 1/30 of Cityscapes, 100 labels: Table 2.
_base_ = [
    '../_base_/methods/cmb_deeplabv2-r101-coco_cityscapes.py',
    '../_base_/datasets/cityscapes_val-half.py',
    '../_base_/datasets/cityscapes_half512_unlabeled.py',
    '../_base_/schedules/sgd-2e-4_150k.py',
]
split = 'splits/1-30_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
