# Table 6: three pairs.
_base_ = './ctt-ct_deeplabv2-r101-coco_cityscapes-1-8.py'
model = dict(num_pairs=3)
