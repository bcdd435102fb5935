# Labels alone, DeepLabV2-R101 from COCO, 1/50 of VOC aug, 212 labels: Table 2.
_base_ = [
    '../_base_/models/deeplabv2_r101-d8_coco.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_rotate321.py',
    '../_base_/schedules/sgd-25e-5_80k.py',
    '../_base_/default_runtime.py',
]
split = 'splits/1-50_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
)
auto_scale_lr = dict(base_batch_size=10)
