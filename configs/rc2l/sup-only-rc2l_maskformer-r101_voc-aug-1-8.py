# Labels alone, MaskFormer-R101, 1/8 of VOC aug,
# 1 323 labels: Table 1.
_base_ = [
    '../_base_/models/maskformer_r101-d32.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_crop512.py',
    '../_base_/schedules/adamw-1e-4_160k.py',
    '../_base_/default_runtime.py',
]
split = 'splits/1-8_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
)
auto_scale_lr = dict(base_batch_size=8)
