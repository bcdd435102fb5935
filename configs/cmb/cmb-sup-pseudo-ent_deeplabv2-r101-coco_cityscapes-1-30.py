# Table 5: the losses of labels, pseudo labels, entropy.
_base_ = './cmb_deeplabv2-r101-coco_cityscapes-1-30.py'
model = dict(
    contrast_weight=0,
)
