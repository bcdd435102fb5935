# Table 5: both students learn the mean of the teachers.
_base_ = './ctt-ct_deeplabv2-r101-coco_cityscapes-1-8.py'
model = dict(teaching='ensemble')
