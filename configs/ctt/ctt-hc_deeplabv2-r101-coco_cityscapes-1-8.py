# Table 4: labels and the high level, phi = 0, so that all cells are at it.
_base_ = './ctt_deeplabv2-r101-coco_cityscapes-1-8.py'
model = dict(ct_weight=0, lc_weight=0, threshold=0)
