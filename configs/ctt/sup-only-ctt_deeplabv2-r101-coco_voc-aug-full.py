# Labels alone, DeepLabV2-R101 from COCO, all 10 582 labels of VOC aug: Table 2.
_base_ = [
    '../_base_/models/deeplabv2_r101-d8_coco.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_rotate321.py',
    '../_base_/schedules/sgd-25e-5_80k.py',
    '../_base_/default_runtime.py',
]
auto_scale_lr = dict(base_batch_size=10)
