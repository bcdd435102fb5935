# The labeled stream of CTT on VOC: long side 250 to 750, rotated and flipped, crops of
# 321.
# All 10 582 images with augmented masks (SBD); a config names the lists of its split.
data_root = 'data/VOCdevkit/VOC2012/'
crop_size = (321, 321)
mean_bgr = (104, 117, 123)
resize = dict(
    type='RandomResize', scale=(500, 500), ratio_range=(0.5, 1.5), keep_ratio=True
)
rotate = dict(type='RandomRotate', prob=0.5, degree=10, pad_val=mean_bgr)
pad = dict(type='Pad', size=crop_size, pad_val=dict(img=mean_bgr, seg=255))
flip = dict(type='RandomFlip', prob=0.5)
labeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    resize,
    rotate,
    dict(type='RandomCrop', crop_size=crop_size),
    pad,
    flip,
    dict(type='PackSegInputs'),
]
# On one GPU: 10 labeled and 10 unlabeled images a step.
labeled = dict(
    batch_size=10,
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
