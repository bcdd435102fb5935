# Labels alone, DeepLabV3+-R50, all 2 975 labels of Cityscapes, random crops without
# other augmentation.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d16_cmb.py',
    '../_base_/datasets/cityscapes_val.py',
    '../_base_/datasets/cityscapes_crop512.py',
    '../_base_/schedules/sgd-4e-4_150k.py',
    '../_base_/default_runtime.py',
]
model = dict(student=dict(decode_head=dict(num_classes=19)))
auto_scale_lr = dict(base_batch_size=7)
