# CAC, PSPNet-R50, all 10 582 labels of VOC aug, the same
# images unlabeled: Table 1.
_base_ = [
    '../_base_/methods/cac_pspnet-r50.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_overlap320.py',
    '../_base_/schedules/sgd-1e-2_92560.py',
]
