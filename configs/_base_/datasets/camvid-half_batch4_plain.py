# CamVid in batches of 4 labeled and 2 unlabeled plain crops, augmented on the device.
_base_ = './camvid-half_plain.py'
labeled = dict(batch_size=4)
unlabeled = dict(batch_size=2)
train_dataloader = dict(labeled=labeled)
