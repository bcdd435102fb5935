# CMB with GTA5 as labeled source, DeepLabV2-R101 from ImageNet, 1/15 of Cityscapes, 200
# labels: Table 4.
_base_ = './cmb_deeplabv2-r101_gta5-cityscapes-1-30.py'
model = dict(
    enqueue_number=1,
    class_balance=dict(labels=40, pseudo=1387),
)
split = 'splits/1-15_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
