# Labels alone, DeepLabV2-R101 from ImageNet, all 2 975 labels of Cityscapes, random
# crops without other augmentation.
_base_ = [
    '../_base_/models/deeplabv2_r101-d8.py',
    '../_base_/datasets/cityscapes_val-half.py',
    '../_base_/datasets/cityscapes_half512.py',
    '../_base_/schedules/sgd-2e-4_150k.py',
    '../_base_/default_runtime.py',
]
model = dict(student=dict(decode_head=dict(num_classes=19)))
auto_scale_lr = dict(base_batch_size=5)
