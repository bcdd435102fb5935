# CMB, DeepLabV3+-R50, 1/8 of Cityscapes, 372 labels: Table 2.
_base_ = './cmb_deeplabv3plus-r50_cityscapes-full.py'
model = dict(
    class_balance=dict(labels=53, pseudo=867),
)
split = 'splits/1-8_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
