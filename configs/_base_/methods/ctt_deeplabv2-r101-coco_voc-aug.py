# CTT with DeepLabV2-R101 from COCO on VOC.
_base_ = ['../models/deeplabv2_r101-d8_coco.py', '../default_runtime.py']
model = dict(type='CTT')
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.99, warmup=None),
    dict(type='MemoryHook'),
]
default_hooks = dict(checkpoint=dict(save_best='student0/mIoU'))
