# Table 7: 512 features of each class in the bank.
_base_ = './ctt-hc-lc_deeplabv2-r101-coco_cityscapes-1-8.py'
model = dict(bank_size=512)
