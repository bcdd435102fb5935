# Table 4: labels and the low level, phi = 1, so that all cells are at it.
_base_ = './ctt_deeplabv2-r101-coco_cityscapes-1-8.py'
model = dict(ct_weight=0, hc_weight=0, threshold=1)
