# Labels alone, DeepLabV2-R101 from ImageNet, 1/30 of Cityscapes, 100 labels.
_base_ = './sup-only-cmb_deeplabv2-r101_cityscapes-full.py'
split = 'splits/1-30_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
)
