# Labels alone, DeepLabV3+-R50, all 10 582 labels of VOC aug, random crops without other
# augmentation.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16_cmb.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_crop321.py',
    '../_base_/schedules/sgd-4e-4_150k.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(labeled=dict(batch_size=20))
auto_scale_lr = dict(base_batch_size=20)
