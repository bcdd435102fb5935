# The same without contrast: the two teachers cross, and no more.
_base_ = './ctt_deeplabv3plus-r18_camvid-seq24.py'
model = dict(hc_weight=0, lc_weight=0)
custom_hooks = [dict(type='MeanTeacherHook', decay=0.99, warmup='1/(t+1)')]
