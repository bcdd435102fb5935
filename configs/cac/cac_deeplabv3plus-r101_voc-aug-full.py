# CAC, DeepLabV3+-R101, all 10 582 labels of VOC aug, the same
# images unlabeled: Table 1.
_base_ = [
    '../_base_/models/deeplabv3plus_r101-d16_cac.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_overlap320.py',
    '../_base_/schedules/sgd-1e-2_92560.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='CAC',
    contrast=dict(
        type='OverlapContrast',
        pool=2,
        num_negatives=6400,
        bank=dict(type='StepQueue', steps=2),
        start=5785,
    ),
)
custom_hooks = [dict(type='MemoryHook')]
