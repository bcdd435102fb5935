# RC²L, MaskFormer-R101, 1/8 of Cityscapes,
# 372 labels: Table 2.
_base_ = [
    '../_base_/methods/rc2l_maskformer-r101.py',
    '../_base_/datasets/cityscapes_val.py',
    '../_base_/datasets/cityscapes_crop768_views.py',
    '../_base_/schedules/adamw-1e-4_120k.py',
]
model = dict(
    student=dict(
        decode_head=dict(num_classes=19, loss_cls=dict(class_weight=[1.0] * 19 + [0.1]))
    )
)
split = 'splits/1-8_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
