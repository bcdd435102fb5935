# Labels alone, DeepLabV3+-R50, 1/30 of Cityscapes, 100 labels.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16_cmb.py',
    '../_base_/datasets/cityscapes_val.py',
    '../_base_/datasets/cityscapes_crop512.py',
    '../_base_/schedules/sgd-4e-4_150k.py',
    '../_base_/default_runtime.py',
]
model = dict(student=dict(decode_head=dict(num_classes=19)))
split = 'splits/1-30_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
)
auto_scale_lr = dict(base_batch_size=7)
