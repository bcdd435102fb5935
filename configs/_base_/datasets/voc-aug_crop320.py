# The labeled stream of CAC on VOC: long side 200 to 800, crops of 320.
# All 10 582 images with augmented masks (SBD); a config names the lists of its split.
data_root = 'data/VOCdevkit/VOC2012/'
crop_size = (320, 320)
mean_bgr = (103.53, 116.28, 123.675)
labeled_resize = dict(
    type='RandomResize',
    scale=(400, 400),
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
    dict(type='PackSegInputs'),
]
# On each of 2 GPUs: 8 labeled images a step.
labeled = dict(
    batch_size=4,
    num_workers=4,
    dataset=dict(
        type='PascalVOCDataset',
        data_root=data_root,
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug'),
        ann_file='ImageSets/Segmentation/trainaug.txt',
        pipeline=labeled_pipeline,
    ),
)
train_dataloader = dict(labeled=labeled)
