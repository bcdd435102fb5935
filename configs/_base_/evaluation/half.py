# Input at half size; logits back at the labels' size.
eval_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale_factor=0.5),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
