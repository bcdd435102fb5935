# Labels alone, DeepLabV3+-R101, all 10 582 labels of VOC aug: Table 1.
_base_ = [
    '../_base_/models/deeplabv3plus_r101-d16_cac.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_crop320.py',
    '../_base_/schedules/sgd-1e-2_92560.py',
    '../_base_/default_runtime.py',
]
