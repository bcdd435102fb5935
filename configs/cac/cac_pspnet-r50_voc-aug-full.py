# CAC, PSPNet-R50, all 10 582 labels of VOC aug, the same
# images unlabeled: Table 1.
_base_ = [
    '../_base_/models/pspnet_r50-d8.py',
    '../_base_/datasets/voc-aug_overlap320.py',
    '../_base_/schedules/sgd-1e-2_92560.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='CAC',
    num_negatives=6400,
    bank_steps=1,
    start_iter=5785,
)
custom_hooks = [dict(type='MemoryHook')]
