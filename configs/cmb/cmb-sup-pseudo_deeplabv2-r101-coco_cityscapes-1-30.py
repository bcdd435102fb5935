# Table 5: the losses of labels, pseudo labels.
_base_ = './cmb_deeplabv2-r101-coco_cityscapes-1-30.py'
model = dict(
    entropy_weight=0,
    contrast_weight=0,
)
