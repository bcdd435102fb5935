# Dynamic soft labels with eta = 0.80, the 1 464 masks of VOC 2012: Table 3.
_base_ = [
    '../../_base_/methods/esl_deeplabv3plus-r101.py',
    '../../_base_/datasets/voc_val-center513.py',
    '../../_base_/datasets/voc-aug_crop513_unlabeled.py',
    '../../_base_/schedules/sgd-1e-2_92560.py',
]
model = dict(pseudo_label=dict(top_p=0.80), contrast=None)
labels = 'ImageSets/Segmentation/train.txt'
train_dataloader = dict(
    labeled=dict(
        dataset=dict(
            ann_file=labels,
            data_prefix=dict(seg_map_path='SegmentationClass'),
        )
    ),
    unlabeled=dict(dataset=dict(exclude=labels)),
)
train_cfg = dict(max_iters=91120, val_interval=1139)  # 80 epochs
