# Labels alone, DeepLabV2-R101 from COCO, 1/20 of VOC aug, 529 labels: Table 2.
_base_ = './sup-only-ctt_deeplabv2-r101-coco_voc-aug-full.py'
split = 'splits/529_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
)
