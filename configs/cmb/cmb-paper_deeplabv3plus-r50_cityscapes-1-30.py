# CMB by the paper's text, DeepLabV3+-R50, 1/30 of Cityscapes, 100 labels.
_base_ = [
    '../_base_/methods/cmb_deeplabv3plus-r50_cityscapes.py',
    '../_base_/datasets/cityscapes_val.py',
    '../_base_/datasets/cityscapes_crop512_unlabeled.py',
    '../_base_/schedules/sgd-4e-4_150k.py',
]
model = dict(
    enqueue_number=3,
    class_balance=dict(labels=14, pseudo=958, median='all'),
    student=dict(decode_head=dict(loss_decode=dict(norm='all'))),  # (3)
    entropy_norm='nats',
    entropy_over='all',
    ramp_up=dict(kind='step', length=2000),
    contrast_joint=True,
    bank_start=0,  # "on every training iteration"
    read_at='cell',
    enqueue_per='image',
)
split = 'splits/1-30_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
auto_scale_lr = dict(base_batch_size=10)
