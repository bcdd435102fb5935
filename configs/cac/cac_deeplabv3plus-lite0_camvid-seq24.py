# CAC: 24 labels of CamVid, the other 343 frames unlabeled.
_base_ = [
    '../_base_/models/deeplabv3plus_lite0-d16.py',
    '../_base_/datasets/camvid-half_overlap.py',
    '../_base_/schedules/adamw-pretrained_800.py',
    '../_base_/default_runtime.py',
]
heads = dict(num_classes=11)
model = dict(
    type='CAC',
    student=dict(decode_head=heads, auxiliary_head=heads),
    pool=2,
    num_negatives=1280,  # all cells: 4 images * (128 / 8) * (160 / 8)
    bank_steps=1,
    start_iter=50,
)
train_dataloader = dict(
    labeled=dict(batch_size=4), unlabeled=dict(_base_.unlabeled, batch_size=4)
)
custom_hooks = [dict(type='MemoryHook')]
