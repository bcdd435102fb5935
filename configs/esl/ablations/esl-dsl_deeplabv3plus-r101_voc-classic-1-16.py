# Dynamic soft labels, 1/16 of the 1 464 masks of VOC 2012, 92 labels: Figure 7.
_base_ = [
    '../../_base_/methods/esl_deeplabv3plus-r101.py',
    '../../_base_/datasets/voc_val-center513.py',
    '../../_base_/datasets/voc-aug_crop513_unlabeled.py',
    '../../_base_/schedules/sgd-1e-2_92560.py',
]
model = dict(contrast=None)
split = 'splits/classic-1-16/'
train_dataloader = dict(
    labeled=dict(
        dataset=dict(
            ann_file=split + 'labeled.txt',
            data_prefix=dict(seg_map_path='SegmentationClass'),
        )
    ),
    unlabeled=dict(dataset=dict(exclude=split + 'labeled.txt')),
)
train_cfg = dict(max_iters=104880, val_interval=1311)  # 80 epochs
