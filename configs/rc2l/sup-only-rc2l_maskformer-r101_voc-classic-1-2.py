# Labels alone, MaskFormer-R101, 1/2 of the 1 464 masks of VOC 2012,
# 732 labels: Table 1.
_base_ = [
    '../_base_/models/maskformer_r101-d32.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_crop512.py',
    '../_base_/schedules/adamw-1e-4_120k.py',
    '../_base_/default_runtime.py',
]
split = 'splits/classic-1-2/'
train_dataloader = dict(
    labeled=dict(
        dataset=dict(
            ann_file=split + 'labeled.txt',
            data_prefix=dict(seg_map_path='SegmentationClass'),
        )
    ),
)
auto_scale_lr = dict(base_batch_size=8)
