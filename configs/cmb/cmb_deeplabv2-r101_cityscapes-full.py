# CMB, DeepLabV2-R101 from ImageNet, all 2 975 labels of Cityscapes, the same images
# unlabeled: Table 2.
_base_ = [
    '../_base_/methods/cmb_deeplabv2-r101_cityscapes.py',
    '../_base_/datasets/cityscapes_val-half.py',
    '../_base_/datasets/cityscapes_half512_unlabeled.py',
    '../_base_/schedules/sgd-2e-4_150k.py',
]
