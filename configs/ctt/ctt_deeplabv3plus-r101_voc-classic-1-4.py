# CTT, DeepLabV3+-R101, 1/4 of the 1 464 masks of VOC 2012,
# 366 labels: Table 3.
_base_ = './ctt_deeplabv3plus-r101_voc-classic-1-8.py'
split = 'splits/classic-1-4/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
    unlabeled=dict(dataset=dict(exclude=split + 'labeled.txt')),
)
