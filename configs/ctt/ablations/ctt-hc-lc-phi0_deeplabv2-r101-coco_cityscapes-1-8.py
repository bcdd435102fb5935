# Table 8: threshold 0, all cells at the high level.
_base_ = [
    '../../_base_/methods/ctt_deeplabv2-r101-coco_cityscapes.py',
    '../../_base_/datasets/cityscapes_val-half.py',
    '../../_base_/datasets/cityscapes_half256x512_unlabeled.py',
    '../../_base_/schedules/sgd-25e-5_80k.py',
]
model = dict(pseudo_loss=dict(weight=0), contrast=dict(threshold=0))
split = 'splits/1-8_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
