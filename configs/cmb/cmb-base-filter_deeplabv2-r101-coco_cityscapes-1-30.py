# Table 8: the base with the filter of quality.
_base_ = './cmb_deeplabv2-r101-coco_cityscapes-1-30.py'
model = dict(
    bank_from='student',
    attention=False,
    bank_rank='random',
)
