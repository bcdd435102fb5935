# Table 7: 128 vectors of each class in the bank.
_base_ = './cmb_deeplabv2-r101-coco_cityscapes-1-30.py'
model = dict(
    bank_size=128,
    enqueue_number=1,
)
