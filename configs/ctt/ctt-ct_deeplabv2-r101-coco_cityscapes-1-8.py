# Tables 4 to 6: labels and cross teaching, without contrast.
_base_ = './ctt_deeplabv2-r101-coco_cityscapes-1-8.py'
model = dict(hc_weight=0, lc_weight=0)
custom_hooks = [dict(type='MeanTeacherHook', decay=0.99, warmup=None)]
