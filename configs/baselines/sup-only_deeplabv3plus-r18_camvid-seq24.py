# Supervised baseline on the 24 labels.
_base_ = [
    '../_base_/models/deeplabv3plus_r18-d16.py',
    '../_base_/datasets/camvid-half.py',
    '../_base_/schedules/adamw_800.py',
    '../_base_/default_runtime.py',
]
heads = dict(num_classes=11)
model = dict(student=dict(decode_head=heads, auxiliary_head=heads))
