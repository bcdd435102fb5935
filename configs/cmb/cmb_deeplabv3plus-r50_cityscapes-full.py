# CMB, DeepLabV3+-R50, all 2 975 labels of Cityscapes, the same images unlabeled: Table
# 2.
_base_ = [
    '../_base_/methods/cmb_deeplabv3plus-r50_cityscapes.py',
    '../_base_/datasets/cityscapes_val.py',
    '../_base_/datasets/cityscapes_crop512_unlabeled.py',
    '../_base_/schedules/sgd-4e-4_150k.py',
]
auto_scale_lr = dict(base_batch_size=10)
