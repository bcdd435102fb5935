# CMB by the paper's text, DeepLabV3+-R50, 1/50 of VOC aug, 212 labels.
_base_ = './cmb_deeplabv3plus-r50_voc-aug-1-50.py'
model = dict(
    entropy_norm='nats',
    ramp_up=dict(kind='step', length=2000),
    contrast_joint=True,
    enqueue_per='image',
    enqueue_number=1,
)
