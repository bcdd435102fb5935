# RC²L on 24 labels and the other 343 frames unlabeled, with ImageNet weights.
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
# ImageNet alone does not give segments: the labels teach first.
model = dict(
    type='RC2L',
    student=dict(decode_head=heads),
    segments=dict(min_area=4),
    alpha=0.2,
    ramp_up=dict(kind='step', length=500),
)
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
custom_hooks = [dict(type='MeanTeacherHook', decay=0.99, warmup='1/(t+1)')]
