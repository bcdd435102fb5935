# CAC with PSPNet-R50, from the fifth epoch on.
_base_ = ['../models/pspnet_r50-d8.py', '../default_runtime.py']
model = dict(type='CAC', num_negatives=6400, bank_steps=1, start_iter=5785)
custom_hooks = [dict(type='MemoryHook')]
