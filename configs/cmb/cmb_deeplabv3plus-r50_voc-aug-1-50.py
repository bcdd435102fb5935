# CMB, DeepLabV3+-R50, 1/50 of VOC aug, 212 labels: Table 3.
_base_ = [
    '../_base_/methods/cmb_deeplabv3plus-r50_voc-aug.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_crop321_unlabeled.py',
    '../_base_/schedules/sgd-4e-4_150k.py',
]
split = 'splits/1-50_0/'
train_dataloader = dict(
    labeled=dict(batch_size=20, dataset=dict(ann_file=split + 'labeled.txt')),
    unlabeled=dict(batch_size=10, dataset=dict(images=split + 'unlabeled.txt')),
)
auto_scale_lr = dict(base_batch_size=30)
