# Labels alone, PSPNet-R50, 1/8 of VOC aug, 1 323 labels: Table 1.
_base_ = [
    '../_base_/models/pspnet_r50-d8.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_crop320.py',
    '../_base_/schedules/sgd-1e-2_92560.py',
    '../_base_/default_runtime.py',
]
split = 'splits/1-8_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
)
