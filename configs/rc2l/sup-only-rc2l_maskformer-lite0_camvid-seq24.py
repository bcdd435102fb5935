# Labels alone: MaskFormer with ImageNet weights on the 24 labels.
_base_ = [
    '../_base_/models/maskformer_lite0-d32.py',
    '../_base_/datasets/camvid-half.py',
    '../_base_/schedules/adamw-pretrained_1000.py',
    '../_base_/default_runtime.py',
]
num_classes = 11
heads = dict(
    num_classes=num_classes,
    num_queries=30,
    loss_cls=dict(class_weight=[1.0] * num_classes + [0.1]),
)
model = dict(student=dict(decode_head=heads))
