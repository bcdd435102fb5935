# The labeled stream of CMB with DeepLabV3+ on Cityscapes: crops of 512 at full size.
# All else is done to whole batches (BatchAugment).
_base_ = './cityscapes.py'
crop_size = (512, 512)
labeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='PackSegInputs'),
]
# On one GPU: 7 labeled and 3 unlabeled images a step.
labeled = dict(batch_size=7, num_workers=4, dataset=dict(pipeline=labeled_pipeline))
train_dataloader = dict(labeled=labeled)
