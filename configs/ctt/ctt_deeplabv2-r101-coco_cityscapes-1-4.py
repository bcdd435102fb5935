# CTT, DeepLabV2-R101 from COCO, 1/4 of Cityscapes, 744 labels: Table 1.
_base_ = './ctt_deeplabv2-r101-coco_cityscapes-1-8.py'
split = 'splits/1-4_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
