# Table 8: the bank has random vectors of the student, and no weights.
_base_ = './cmb_deeplabv2-r101-coco_cityscapes-1-30.py'
model = dict(
    bank_from='student',
    attention=False,
    quality_filter=False,
    bank_rank='random',
)
