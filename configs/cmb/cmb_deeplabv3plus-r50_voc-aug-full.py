# CMB, DeepLabV3+-R50, all 10 582 labels of VOC aug, the same images unlabeled: Table 3.
_base_ = [
    '../_base_/methods/cmb_deeplabv3plus-r50_voc-aug.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_crop321_unlabeled.py',
    '../_base_/schedules/sgd-4e-4_150k.py',
]
train_dataloader = dict(labeled=dict(batch_size=20), unlabeled=dict(batch_size=10))
auto_scale_lr = dict(base_batch_size=30)
