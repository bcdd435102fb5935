# CMB, DeepLabV3+-R50, 1/20 of VOC aug, 530 labels: Table 3.
_base_ = './cmb_deeplabv3plus-r50_voc-aug-full.py'
split = 'splits/1-20_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
