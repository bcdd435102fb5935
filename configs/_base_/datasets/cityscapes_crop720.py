# The labeled stream of CAC on Cityscapes: long side 1024 to 4096, crops of 720, colours
# as in the published code.
# All 2 975 images for training; a config names the lists of its split.
data_root = 'data/cityscapes/'
crop_size = (720, 720)
mean_bgr = (103.53, 116.28, 123.675)
labeled_resize = dict(
    type='RandomResize',
    scale=(2048, 2048),
    ratio_range=(0.5, 2.0),
    keep_ratio=True,
    backend='pillow',
    interpolation='bicubic',
)
labeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    labeled_resize,
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='Pad', size=crop_size, pad_val=dict(img=mean_bgr, seg=255)),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='ColorJitter',
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.1,
        prob=1.0,
    ),
    dict(type='PackSegInputs'),
]
# On each of 4 GPUs: 8 labeled images a step.
labeled = dict(
    batch_size=2,
    num_workers=4,
    dataset=dict(
        type='CityscapesDataset',
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=labeled_pipeline,
    ),
)
train_dataloader = dict(labeled=labeled)
