# The labeled stream of CMB with DeepLabV2 on Cityscapes: crops of 512 of images at half
# size, 512 x 1024. Testing: input at half size, logits back at the size of the labels.
_base_ = ['./cityscapes.py', '../evaluation/half.py']
crop_size = (512, 512)
half = dict(type='Resize', scale_factor=0.5)
labeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    half,
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='PackSegInputs'),
]
# On one GPU: 5 labeled and 2 unlabeled images a step.
labeled = dict(batch_size=5, num_workers=4, dataset=dict(pipeline=labeled_pipeline))
train_dataloader = dict(labeled=labeled)
val_dataloader = dict(dataset=dict(pipeline={{_base_.eval_pipeline}}))
test_dataloader = dict(dataset=dict(pipeline={{_base_.eval_pipeline}}))
