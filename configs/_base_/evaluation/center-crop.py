# The centre of each image alone, at original size.
eval_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='CenterCropEval', crop_size=(512, 512)),
    dict(type='PackSegInputs'),
]
