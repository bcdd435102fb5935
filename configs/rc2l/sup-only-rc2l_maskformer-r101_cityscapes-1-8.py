# Labels alone, MaskFormer-R101, 1/8 of Cityscapes,
# 372 labels: Table 2.
_base_ = [
    '../_base_/models/maskformer_r101-d32.py',
    '../_base_/datasets/cityscapes_val.py',
    '../_base_/datasets/cityscapes_crop768.py',
    '../_base_/schedules/adamw-1e-4_120k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    student=dict(
        decode_head=dict(num_classes=19, loss_cls=dict(class_weight=[1.0] * 19 + [0.1]))
    )
)
split = 'splits/1-8_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
)
auto_scale_lr = dict(base_batch_size=8)
