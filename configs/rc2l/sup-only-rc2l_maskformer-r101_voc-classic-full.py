# Labels alone, MaskFormer-R101, all of the 1 464 masks of VOC 2012,
# 1 464 labels: Table 1.
_base_ = [
    '../_base_/models/maskformer_r101-d32.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_crop512.py',
    '../_base_/schedules/adamw-1e-4_120k.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(
    labeled=dict(
        dataset=dict(
            ann_file='ImageSets/Segmentation/train.txt',
            data_prefix=dict(seg_map_path='SegmentationClass'),
        )
    ),
)
auto_scale_lr = dict(base_batch_size=8)
