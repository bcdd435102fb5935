# Labels alone, DeepLabV2-R101 from COCO, 1/8 of VOC aug, 1 322 labels: Table 2.
_base_ = './sup-only-ctt_deeplabv2-r101-coco_voc-aug-full.py'
split = 'splits/1322_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
)
