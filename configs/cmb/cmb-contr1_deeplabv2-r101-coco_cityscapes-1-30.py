# Table 6: the contrast weighted by 1.
_base_ = './cmb_deeplabv2-r101-coco_cityscapes-1-30.py'
model = dict(
    contrast_weight=1,
)
