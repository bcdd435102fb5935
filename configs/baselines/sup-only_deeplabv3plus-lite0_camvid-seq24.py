# Supervised baseline: 24 labels of CamVid alone.
_base_ = [
    '../_base_/models/deeplabv3plus_lite0-d16.py',
    '../_base_/datasets/camvid-half.py',
    '../_base_/schedules/adamw-pretrained_500.py',
    '../_base_/default_runtime.py',
]
heads = dict(num_classes=11)
model = dict(student=dict(decode_head=heads, auxiliary_head=heads))
