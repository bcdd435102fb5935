# ESL, 1/4 of VOC aug, 2 646 labels: Table 1b.
_base_ = [
    '../_base_/methods/esl_deeplabv3plus-r101.py',
    '../_base_/datasets/voc_val-center513.py',
    '../_base_/datasets/voc-aug_crop513_unlabeled.py',
    '../_base_/schedules/sgd-1e-2_92560.py',
]
split = 'splits/2646_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
train_cfg = dict(max_iters=79360, val_interval=992)  # 80 epochs
