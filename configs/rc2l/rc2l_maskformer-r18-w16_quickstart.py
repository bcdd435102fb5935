# RC²L on the quickstart's data.
_base_ = [
    '../_base_/models/maskformer_r18-w16-d32.py',
    '../_base_/datasets/quickstart_batch4.py',
    '../_base_/schedules/quickstart.py',
    '../_base_/default_runtime.py',
]
# From scratch: pseudo labels of a MaskFormer that knows nothing yet teach it nothing.
model = dict(
    type='RC2L', segments=dict(min_area=4), ramp_up=dict(kind='step', length=600)
)
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
custom_hooks = [dict(type='MeanTeacherHook', decay=0.98, warmup='1/(t+1)')]
