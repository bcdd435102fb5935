# Sliding window at original size. Set also the student's
# `test_cfg = dict(mode='slide', crop_size=..., stride=...)`.
eval_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
test_cfg_slide = dict(mode='slide', crop_size=(512, 512), stride=(341, 341))
