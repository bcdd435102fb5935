# The labeled stream of CMB on VOC: crops of 321 at original scale. All else is done to
# whole batches (BatchAugment).
# All 10 582 images with augmented masks (SBD); a config names the lists of its split.
data_root = 'data/VOCdevkit/VOC2012/'
crop_size = (321, 321)
pad = dict(
    type='Pad', size=crop_size, pad_val=dict(img=(103.53, 116.28, 123.675), seg=255)
)
labeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=crop_size),
    pad,
    dict(type='PackSegInputs'),
]
# DeepLabV2: 14 labeled and 7 unlabeled images on one GPU; DeepLabV3+: 20 and 10.
labeled = dict(
    batch_size=14,
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
