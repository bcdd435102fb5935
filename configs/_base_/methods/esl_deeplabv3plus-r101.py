# ESL on several GPUs; its other settings are those of the paper by default.
_base_ = ['../models/deeplabv3plus_r101-d16_esl.py', '../default_runtime.py']
model = dict(type='ESL', contrast=dict(projector=dict(norm_cfg=dict(type='SyncBN'))))
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.99, warmup='1/(t+1)'),
    dict(type='PrototypeInitHook'),
]
default_hooks = dict(checkpoint=dict(save_best='teacher/mIoU'))
