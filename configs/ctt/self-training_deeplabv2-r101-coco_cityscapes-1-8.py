# Table 5: self-training in two stages.
_base_ = './sup-only-ctt_deeplabv2-r101-coco_cityscapes-1-8.py'
runner_type = 'SelfTrainingRunner'
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
