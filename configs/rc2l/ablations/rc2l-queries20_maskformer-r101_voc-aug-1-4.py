# RC²L with 20 queries, MaskFormer-R101, 1/4 of VOC aug,
# 2 646 labels: Table 5.
_base_ = [
    '../../_base_/methods/rc2l_maskformer-r101.py',
    '../../_base_/datasets/voc_val.py',
    '../../_base_/datasets/voc-aug_crop512_views.py',
    '../../_base_/schedules/adamw-1e-4_160k.py',
]
model = dict(student=dict(decode_head=dict(num_queries=20)))
split = 'splits/1-4_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
