# Supervised baseline of the quickstart.
_base_ = [
    '../_base_/models/deeplabv3plus_r18-w16-d8.py',
    '../_base_/datasets/quickstart.py',
    '../_base_/schedules/quickstart.py',
    '../_base_/default_runtime.py',
]
