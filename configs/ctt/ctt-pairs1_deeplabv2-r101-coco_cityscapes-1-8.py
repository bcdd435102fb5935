# Table 6: one pair, a mean teacher.
_base_ = './ctt-ct_deeplabv2-r101-coco_cityscapes-1-8.py'
model = dict(num_pairs=1)
default_hooks = dict(checkpoint=dict(save_best='student/mIoU'))
