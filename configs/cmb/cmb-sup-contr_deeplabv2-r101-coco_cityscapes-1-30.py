# Table 5: the losses of labels, contrast.
_base_ = './cmb_deeplabv2-r101-coco_cityscapes-1-30.py'
model = dict(
    pseudo_weight=0,
    entropy_weight=0,
)
