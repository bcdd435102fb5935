# Tables 4, 7, 8 and 9: labels and contrast, without cross teaching.
_base_ = './ctt_deeplabv2-r101-coco_cityscapes-1-8.py'
model = dict(ct_weight=0)
