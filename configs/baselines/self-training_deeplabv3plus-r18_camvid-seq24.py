# Self-training: 24 labels write masks of the other 343 frames, then both teach anew.
_base_ = [
    '../_base_/models/deeplabv3plus_r18-d16.py',
    '../_base_/datasets/camvid-half.py',
    '../_base_/schedules/adamw_800.py',
    '../_base_/default_runtime.py',
]
heads = dict(num_classes=11)
model = dict(student=dict(decode_head=heads, auxiliary_head=heads))
runner_type = 'SelfTrainingRunner'
self_training = dict(
    unlabeled={{_base_.unlabeled.dataset}},
    batch_size=8,
    num_workers=2,
    threshold=None,
    strong=[dict(type='PhotoMetricDistortion')],
)
