# Labels alone, DeepLabV3+-R50, 1/50 of VOC aug, 212 labels.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16_cmb.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_crop321.py',
    '../_base_/schedules/sgd-4e-4_150k.py',
    '../_base_/default_runtime.py',
]
split = 'splits/1-50_0/'
train_dataloader = dict(
    labeled=dict(batch_size=20, dataset=dict(ann_file=split + 'labeled.txt')),
)
auto_scale_lr = dict(base_batch_size=20)
