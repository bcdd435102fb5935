# RC²L on the quickstart's data.
_base_ = [
    '../_base_/models/maskformer_r18-w16-d32.py',
    '../_base_/datasets/quickstart_batch4.py',
    '../_base_/schedules/quickstart.py',
    '../_base_/default_runtime.py',
]
# From scratch: it first learns from labels alone, then with a small weight; with 1 the
# losses on unlabeled images undid at once what it had learned.
model = dict(
    type='RC2L',
    segments=dict(min_area=4),
    alpha=0.2,
    ramp_up=dict(kind='step', length=600),
)
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
custom_hooks = [dict(type='MeanTeacherHook', decay=0.98, warmup='1/(t+1)')]
