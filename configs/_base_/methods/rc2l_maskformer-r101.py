# RC²L with MaskFormer-R101.
_base_ = ['../models/maskformer_r101-d32.py', '../default_runtime.py']
model = dict(type='RC2L')
custom_hooks = [dict(type='MeanTeacherHook', decay=0.99, warmup='1/(t+1)')]
