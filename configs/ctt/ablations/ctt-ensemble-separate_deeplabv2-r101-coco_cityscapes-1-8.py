# Table 5: two separate pairs, each student learns from its own teacher; the students'
# probabilities are averaged in testing.
_base_ = [
    '../../_base_/methods/ctt_deeplabv2-r101-coco_cityscapes.py',
    '../../_base_/datasets/cityscapes_val-half.py',
    '../../_base_/datasets/cityscapes_half256x512_unlabeled.py',
    '../../_base_/schedules/sgd-25e-5_80k.py',
]
model = dict(teaching='own', predict_with='mean_students', contrast=None)
split = 'splits/1-8_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
custom_hooks = [dict(type='MeanTeacherHook', decay=0.99, warmup=None)]
