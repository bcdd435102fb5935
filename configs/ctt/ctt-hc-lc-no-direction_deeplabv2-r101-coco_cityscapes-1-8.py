# Table 9: unsure cells learn from less sure ones, too.
_base_ = './ctt-hc-lc_deeplabv2-r101-coco_cityscapes-1-8.py'
model = dict(lc_direction=False)
