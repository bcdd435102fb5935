# RC²L on 24 labels and the other 343 frames unlabeled.
_base_ = [
    '../_base_/models/maskformer_r18-d32.py',
    '../_base_/datasets/camvid-half.py',
    '../_base_/schedules/adamw_800.py',
    '../_base_/default_runtime.py',
]
# From scratch: a MaskFormer that learns its own segments before it has learned from
# labels, or with a large weight, loses its classes.
model = dict(
    type='RC2L',
    # In the 32 x 40 cells of a crop most poles, signs and people have fewer than 16
    segments=dict(min_area=4),
    alpha=0.2,
    ramp_up=dict(kind='step', length=400),
)
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
custom_hooks = [dict(type='MeanTeacherHook', decay=0.99, warmup='1/(t+1)')]
