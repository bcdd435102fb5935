# CMB, DeepLabV2-R101 from COCO, all 10 582 labels of VOC aug, the same images
# unlabeled: Table 3.
_base_ = [
    '../_base_/methods/cmb_deeplabv2-r101-coco_voc-aug.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_crop321_unlabeled.py',
    '../_base_/schedules/sgd-2e-4_150k.py',
]
auto_scale_lr = dict(base_batch_size=21)
