# CAC: 24 labels of CamVid, the other 343 frames unlabeled.
_base_ = [
    '../_base_/models/deeplabv3plus_lite0-d16.py',
    '../_base_/datasets/camvid-half_overlap.py',
    '../_base_/schedules/adamw-pretrained_500.py',
    '../_base_/default_runtime.py',
]
heads = dict(num_classes=11)
model = dict(
    type='CAC',
    student=dict(decode_head=heads, auxiliary_head=heads),
    contrast=dict(
        type='OverlapContrast',
        pool=2,
        num_negatives=2560,  # all cells: 8 images * (128 / 8) * (160 / 8)
        bank=dict(type='StepQueue', steps=1),
        start=50,
    ),
)
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
custom_hooks = [dict(type='MemoryHook')]
