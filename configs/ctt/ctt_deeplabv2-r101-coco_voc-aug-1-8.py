# CTT, DeepLabV2-R101 from COCO, 1/8 of VOC aug, 1 322 labels: Table 2.
_base_ = [
    '../_base_/methods/ctt_deeplabv2-r101-coco_voc-aug.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_rotate321_unlabeled.py',
    '../_base_/schedules/sgd-25e-5_80k.py',
]
split = 'splits/1322_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
auto_scale_lr = dict(base_batch_size=20)
