# CAC with PSPNet-R50, from the fifth epoch on.
_base_ = ['../models/pspnet_r50-d8.py', '../default_runtime.py']
model = dict(
    type='CAC',
    contrast=dict(
        type='OverlapContrast',
        num_negatives=6400,
        bank=dict(type='StepQueue', steps=1),
        start=5785,
    ),
)
custom_hooks = [dict(type='MemoryHook')]
