# Labels alone: MaskFormer on the quickstart's data.
_base_ = [
    '../_base_/models/maskformer_r18-w16-d32.py',
    '../_base_/datasets/quickstart_batch4.py',
    '../_base_/schedules/quickstart.py',
    '../_base_/default_runtime.py',
]
