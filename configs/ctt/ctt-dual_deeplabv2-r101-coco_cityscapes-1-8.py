# Table 5: each student learns from both teachers.
_base_ = './ctt-ct_deeplabv2-r101-coco_cityscapes-1-8.py'
model = dict(teaching='dual')
