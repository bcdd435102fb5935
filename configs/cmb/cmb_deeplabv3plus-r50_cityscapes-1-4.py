# CMB, DeepLabV3+-R50, 1/4 of Cityscapes, 744 labels: Table 2.
_base_ = [
    '../_base_/methods/cmb_deeplabv3plus-r50_cityscapes.py',
    '../_base_/datasets/cityscapes_val.py',
    '../_base_/datasets/cityscapes_crop512_unlabeled.py',
    '../_base_/schedules/sgd-4e-4_150k.py',
]
split = 'splits/1-4_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
auto_scale_lr = dict(base_batch_size=10)
