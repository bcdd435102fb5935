# CMB, DeepLabV2-R101 from COCO, 1/4 of Cityscapes, 744 labels: Table 2.
_base_ = './cmb_deeplabv2-r101-coco_cityscapes-full.py'
model = dict(
    class_balance=dict(labels=148, pseudo=1115),
)
split = 'splits/1-4_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
