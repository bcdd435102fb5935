# CTT with DeepLabV2-R101 from COCO on Cityscapes.
_base_ = ['../models/deeplabv2_r101-d8_coco.py', '../default_runtime.py']
model = dict(
    type='CTT',
    # That of Cityscapes, in BGR
    data_preprocessor=dict(mean=[72.39239876, 82.90891754, 73.15835921]),
    student=dict(decode_head=dict(num_classes=19)),
)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.99, warmup=None),
    dict(type='MemoryHook'),
]
default_hooks = dict(checkpoint=dict(save_best='student0/mIoU'))
