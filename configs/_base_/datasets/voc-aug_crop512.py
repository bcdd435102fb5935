# The labeled stream of RC²L on VOC: long side 250 to 1000, flipped, crops of 512.
# All 10 582 images with augmented masks (SBD); a config names the lists of its split.
data_root = 'data/VOCdevkit/VOC2012/'
crop_size = (512, 512)
mean_bgr = (103.53, 116.28, 123.675)
resize = dict(
    type='RandomResize', scale=(500, 500), ratio_range=(0.5, 2.0), keep_ratio=True
)
pad = dict(type='Pad', size=crop_size, pad_val=dict(img=mean_bgr, seg=255))
flip = dict(type='RandomFlip', prob=0.5)
labeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    resize,
    dict(type='RandomCrop', crop_size=crop_size),
    pad,
    flip,
    dict(type='PackSegInputs'),
]
# On each of 4 GPUs: 8 labeled images a step.
labeled = dict(
    batch_size=2,
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
