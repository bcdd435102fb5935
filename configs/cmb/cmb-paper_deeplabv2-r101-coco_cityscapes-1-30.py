# CMB by the paper's text, DeepLabV2-R101 from COCO, 1/30 of Cityscapes, 100 labels.
_base_ = './cmb_deeplabv2-r101-coco_cityscapes-1-30.py'
model = dict(
    student=dict(decode_head=dict(loss_decode=dict(norm='all'))),  # (3)
    entropy_norm='nats',
    entropy_over='all',
    ramp_up=dict(kind='step', length=2000),
    class_balance=dict(median='all'),
    contrast_joint=True,
    bank_start=0,  # "on every training iteration"
    read_at='cell',
    enqueue_per='image',
)
