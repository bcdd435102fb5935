# Table 5: self-training in two stages.
_base_ = [
    '../_base_/models/deeplabv2_r101-d8_coco.py',
    '../_base_/datasets/cityscapes_val-half.py',
    '../_base_/datasets/cityscapes_half256x512.py',
    '../_base_/schedules/sgd-25e-5_80k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    # That of Cityscapes, in BGR
    data_preprocessor=dict(mean=[72.39239876, 82.90891754, 73.15835921]),
    student=dict(decode_head=dict(num_classes=19)),
)
runner_type = 'SelfTrainingRunner'
split = 'splits/1-8_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
)
self_training = dict(
    unlabeled=dict(
        type='UnlabeledDataset',
        data_root='data/cityscapes/',
        images='splits/1-8_0/unlabeled.txt',
        image_dir='leftImg8bit/train',
    ),
    batch_size=2,
    num_workers=4,
    threshold=None,
)
auto_scale_lr = dict(base_batch_size=4)
