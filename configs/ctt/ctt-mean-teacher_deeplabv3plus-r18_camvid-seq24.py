# The same with one pair and without contrast: a mean teacher.
_base_ = './ctt_deeplabv3plus-r18_camvid-seq24.py'
model = dict(num_pairs=1, hc_weight=0, lc_weight=0)
custom_hooks = [dict(type='MeanTeacherHook', decay=0.99, warmup='1/(t+1)')]
default_hooks = dict(checkpoint=dict(save_best='student/mIoU'))
