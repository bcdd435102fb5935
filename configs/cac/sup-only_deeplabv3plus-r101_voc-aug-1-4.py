# Labels alone, DeepLabV3+-R101, 1/4 of VOC aug, 2 645 labels: Table 1.
_base_ = [
    '../_base_/models/deeplabv3plus_r101-d16_cac.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_crop320.py',
    '../_base_/schedules/sgd-1e-2_92560.py',
    '../_base_/default_runtime.py',
]
split = 'splits/1-4_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
)
