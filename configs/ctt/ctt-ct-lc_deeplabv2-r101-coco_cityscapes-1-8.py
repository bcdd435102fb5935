# Table 4: labels, cross teaching and the low level, phi = 1.
_base_ = './ctt_deeplabv2-r101-coco_cityscapes-1-8.py'
model = dict(hc_weight=0, threshold=1)
