# Labels alone, DeepLabV2-R101 from COCO, 1/2 of Cityscapes, 1 487 labels: Table 1.
_base_ = [
    '../_base_/models/deeplabv2_r101-d8_coco.py',
    '../_base_/datasets/cityscapes_val-half.py',
    '../_base_/datasets/cityscapes_half256x512.py',
    '../_base_/schedules/sgd-25e-5_80k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    # That of Cityscapes, in BGR
    data_preprocessor=dict(mean=[72.39239876, 82.90891754, 73.15835921]),
    student=dict(decode_head=dict(num_classes=19)),
)
split = 'splits/1-2_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
)
auto_scale_lr = dict(base_batch_size=2)
