# Table 5: the students label for each other, there are no teachers.
_base_ = './ctt-ct_deeplabv2-r101-coco_cityscapes-1-8.py'
model = dict(teaching='mutual')
custom_hooks = []
