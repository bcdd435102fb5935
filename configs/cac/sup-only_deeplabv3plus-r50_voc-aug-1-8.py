# Labels alone, DeepLabV3+-R50, 1/8 of VOC aug, 1 323 labels: Table 1.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16_cac.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_crop320.py',
    '../_base_/schedules/sgd-1e-2_92560.py',
    '../_base_/default_runtime.py',
]
split = 'splits/1-8_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
)
