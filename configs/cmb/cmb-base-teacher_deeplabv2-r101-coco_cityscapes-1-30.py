# Table 8: the base with vectors of the teacher.
_base_ = './cmb_deeplabv2-r101-coco_cityscapes-1-30.py'
model = dict(
    attention=False,
    quality_filter=False,
    bank_rank='random',
)
