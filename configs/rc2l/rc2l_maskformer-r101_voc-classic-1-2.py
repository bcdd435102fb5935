# RC²L, MaskFormer-R101, 1/2 of the 1 464 masks of VOC 2012,
# 732 labels: Table 1.
_base_ = [
    '../_base_/methods/rc2l_maskformer-r101.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_crop512_views.py',
    '../_base_/schedules/adamw-1e-4_120k.py',
]
model = dict(alpha=2.0)
split = 'splits/classic-1-2/'
train_dataloader = dict(
    labeled=dict(
        dataset=dict(
            ann_file=split + 'labeled.txt',
            data_prefix=dict(seg_map_path='SegmentationClass'),
        )
    ),
    unlabeled=dict(dataset=dict(exclude=split + 'labeled.txt')),
)
