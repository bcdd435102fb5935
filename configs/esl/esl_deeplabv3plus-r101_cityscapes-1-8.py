# ESL, 1/8 of Cityscapes, 372 labels: Table 1c.
_base_ = [
    '../_base_/methods/esl_deeplabv3plus-r101.py',
    '../_base_/datasets/cityscapes_val.py',
    '../_base_/datasets/cityscapes_crop769_unlabeled.py',
    '../_base_/schedules/sgd-1e-1_92560.py',
]
# The hardest pixels, at least 100 000 of the two images of a GPU
loss = dict(_delete_=True, type='OHEMLoss', threshold=0.7, min_kept=100000)
model = dict(
    student=dict(
        decode_head=dict(num_classes=19, loss_decode=loss),
        test_cfg=dict(mode='slide', crop_size=(769, 769), stride=(513, 513)),
    ),
)
split = 'splits/1-8_0/'
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=split + 'labeled-masks.txt')),
    unlabeled=dict(dataset=dict(images=split + 'unlabeled.txt')),
)
train_cfg = dict(max_iters=65000, val_interval=325)  # 200 epochs
optim_wrapper = dict(optimizer=dict(weight_decay=5e-4))
