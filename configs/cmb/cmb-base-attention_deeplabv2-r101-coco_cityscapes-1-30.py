# Table 8: the base with weights and ranking by attention.
_base_ = './cmb_deeplabv2-r101-coco_cityscapes-1-30.py'
model = dict(
    bank_from='student',
    quality_filter=False,
)
