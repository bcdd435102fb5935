# RC²L with matched masks alone, MaskFormer-R101, 1/4 of VOC aug,
# 2 646 labels: Table 3.
_base_ = [
    '../../_base_/methods/rc2l_maskformer-r101.py',
    '../../_base_/datasets/voc_val.py',
    '../../_base_/datasets/voc-aug_crop512_views.py',
    '../../_base_/schedules/adamw-1e-4_160k.py',
]
model = dict(
    region_losses=dict(
        mask_contrast=None,
        feature_contrast=None,
        class_consistency=None,
        semantic_consistency=None,
        matched_consistency=dict(type='MatchedMaskConsistencyLoss'),
    )
)
split = 'splits/1-4_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
