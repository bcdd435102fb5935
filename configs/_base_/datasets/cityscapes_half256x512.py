# The labeled stream of CTT on Cityscapes: images at half size, 512 x 1024, rotated and
# flipped, crops of 256 x 512. Testing: input at half size, logits back at the size of
# the labels. What a rotation uncovers has the mean colour of Cityscapes, in BGR.
_base_ = ['./cityscapes.py', '../evaluation/half.py']
crop_size = (256, 512)
half = dict(type='Resize', scale_factor=0.5)
rotate = dict(type='RandomRotate', prob=0.5, degree=10, pad_val=(72, 83, 73))
flip = dict(type='RandomFlip', prob=0.5)
labeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    half,
    rotate,
    dict(type='RandomCrop', crop_size=crop_size),
    flip,
    dict(type='PackSegInputs'),
]
# On one GPU: 2 labeled and 2 unlabeled images a step.
labeled = dict(batch_size=2, num_workers=4, dataset=dict(pipeline=labeled_pipeline))
train_dataloader = dict(labeled=labeled)
val_dataloader = dict(dataset=dict(pipeline={{_base_.eval_pipeline}}))
test_dataloader = dict(dataset=dict(pipeline={{_base_.eval_pipeline}}))
