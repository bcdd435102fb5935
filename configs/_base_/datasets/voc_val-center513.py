# Testing on PASCAL VOC 2012: the centre of each image, 513 x 513.
_base_ = './voc_val.py'
centre = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='CenterCropEval', crop_size=(513, 513)),
    dict(type='PackSegInputs'),
]
val_dataloader = dict(dataset=dict(pipeline=centre))
test_dataloader = dict(dataset=dict(pipeline=centre))
