# CMB with GTA5 as labeled source by the paper's text, DeepLabV2-R101 from ImageNet,
# 1/30 of Cityscapes, 100 labels.
_base_ = [
    '../_base_/methods/cmb_deeplabv2-r101_cityscapes.py',
    '../_base_/datasets/cityscapes_val-half.py',
    '../_base_/datasets/gta5-cityscapes_half512.py',
    '../_base_/schedules/sgd-2e-4_150k.py',
]
model = dict(
    student=dict(decode_head=dict(loss_decode=dict(norm='all'))),  # (3)
    pseudo_loss=dict(ramp_up=dict(kind='step', length=2000)),
    entropy=dict(norm='nats', over='all'),
    contrast=dict(
        joint=True,
        candidates=dict(
            start=0,  # "on every training iteration"
            read_at='cell',
            per='image',
        ),
    ),
    class_balance=dict(median='all'),
)
split = 'splits/1-30_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
custom_hooks = [
    dict(type='MeanTeacherHook', decay=0.995, warmup='1/(t+1)', anneal='cosine'),
    dict(type='MemoryHook'),
]
auto_scale_lr = dict(base_batch_size=12)
