# Labels alone, DeepLabV2-R101 from COCO, 1/8 of Cityscapes, 372 labels: Table 1.
_base_ = './sup-only-ctt_deeplabv2-r101-coco_cityscapes-full.py'
split = 'splits/1-8_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
)
