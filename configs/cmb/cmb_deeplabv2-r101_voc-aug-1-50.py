# CMB, DeepLabV2-R101 from ImageNet, 1/50 of VOC aug, 212 labels: Table 3.
_base_ = './cmb_deeplabv2-r101_voc-aug-full.py'
model = dict(
    enqueue_number=7,
)
split = 'splits/1-50_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
