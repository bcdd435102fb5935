# Table 4: labels, cross teaching and the high level, phi = 0.
_base_ = './ctt_deeplabv2-r101-coco_cityscapes-1-8.py'
model = dict(lc_weight=0, threshold=0)
