# CMB by the paper's text, DeepLabV3+-R50, 1/50 of VOC aug, 212 labels.
_base_ = './cmb_deeplabv3plus-r50_voc-aug-1-50.py'
model = dict(
    student=dict(decode_head=dict(loss_decode=dict(avg_non_ignore=False))),  # (3)
    entropy_norm='nats',
    entropy_over='all',
    ramp_up=dict(kind='step', length=2000),
    contrast_joint=True,
    bank_start=0,  # "on every training iteration"
    read_at='cell',
    enqueue_per='image',
    enqueue_number=1,
)
