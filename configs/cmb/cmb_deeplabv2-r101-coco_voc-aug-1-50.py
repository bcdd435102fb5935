# CMB, DeepLabV2-R101 from COCO, 1/50 of VOC aug, 212 labels: Table 3.
_base_ = [
    '../_base_/methods/cmb_deeplabv2-r101-coco_voc-aug.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_crop321_unlabeled.py',
    '../_base_/schedules/sgd-2e-4_150k.py',
]
split = 'splits/1-50_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
auto_scale_lr = dict(base_batch_size=21)
