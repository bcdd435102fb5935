# ESL, 1/2 of VOC aug, 5 291 labels: Table 1b.
_base_ = [
    '../_base_/methods/esl_deeplabv3plus-r101.py',
    '../_base_/datasets/voc_val-center513.py',
    '../_base_/datasets/voc-aug_crop513_unlabeled.py',
    '../_base_/schedules/sgd-1e-2_92560.py',
]
split = 'splits/1-2_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
train_cfg = dict(max_iters=52880, val_interval=661)  # 80 epochs
