# Supervised baseline: 60 labels of MSRC-21 alone.
_base_ = [
    '../_base_/models/deeplabv3plus_lite0-d16.py',
    '../_base_/datasets/msrc21.py',
    '../_base_/schedules/adamw-pretrained_500.py',
    '../_base_/default_runtime.py',
]
heads = dict(num_classes=21)
model = dict(student=dict(decode_head=heads, auxiliary_head=heads))
