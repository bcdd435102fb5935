# CamVid at half resolution in batches of 4 labeled and 4 unlabeled images.
_base_ = './camvid-half.py'
labeled = dict(batch_size=4)
unlabeled = dict(batch_size=4)
train_dataloader = dict(labeled=labeled)
