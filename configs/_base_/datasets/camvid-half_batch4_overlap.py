# CamVid in batches of 4; the unlabeled stream gives two overlapping crops.
_base_ = './camvid-half_overlap.py'
labeled = dict(batch_size=4)
unlabeled = dict(batch_size=4)
train_dataloader = dict(labeled=labeled)
