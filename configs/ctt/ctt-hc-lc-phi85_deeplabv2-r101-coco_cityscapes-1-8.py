# Table 8: threshold 0.85.
_base_ = './ctt-hc-lc_deeplabv2-r101-coco_cityscapes-1-8.py'
model = dict(threshold=0.85)
