# FixMatch: 60 labels of MSRC-21, the other 337 images unlabeled.
_base_ = [
    '../_base_/models/deeplabv3plus_lite0-d16.py',
    '../_base_/datasets/msrc21.py',
    '../_base_/schedules/adamw-pretrained_500.py',
    '../_base_/default_runtime.py',
]
heads = dict(num_classes=21)
model = dict(
    type='FixMatch',
    pseudo_loss=dict(
        threshold=None, class_share=0.6, ramp_up=dict(kind='exp', length=100)
    ),
    mix=dict(type='CutMix'),
    student=dict(decode_head=heads, auxiliary_head=heads),
)
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
