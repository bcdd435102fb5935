# Labels alone, PSPNet-R50, all 10 582 labels of VOC aug: Table 1.
_base_ = [
    '../_base_/models/pspnet_r50-d8.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_crop320.py',
    '../_base_/schedules/sgd-1e-2_92560.py',
    '../_base_/default_runtime.py',
]
