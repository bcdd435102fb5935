# Supervised baseline: 38 labels of CCP alone.
_base_ = [
    '../_base_/models/deeplabv3plus_lite0-d16.py',
    '../_base_/datasets/ccp.py',
    '../_base_/schedules/adamw-pretrained_500.py',
    '../_base_/default_runtime.py',
]
heads = dict(num_classes=18)
model = dict(student=dict(decode_head=heads, auxiliary_head=heads))
