# Labels alone: MaskFormer on the 24 labels.
_base_ = [
    '../_base_/models/maskformer_r18-d32.py',
    '../_base_/datasets/camvid-half.py',
    '../_base_/schedules/adamw_800.py',
    '../_base_/default_runtime.py',
]
