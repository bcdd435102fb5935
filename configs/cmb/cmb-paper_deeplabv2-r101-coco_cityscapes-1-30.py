# CMB by the paper's text, DeepLabV2-R101 from COCO, 1/30 of Cityscapes, 100 labels.
_base_ = './cmb_deeplabv2-r101-coco_cityscapes-1-30.py'
model = dict(
    entropy_norm='nats',
    ramp_up=dict(kind='step', length=2000),
    contrast_joint=True,
    enqueue_per='image',
)
