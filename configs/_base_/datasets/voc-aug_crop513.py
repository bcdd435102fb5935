# The labeled stream of ESL on VOC: long side 250 to 1 000, crops of 513, flips.
# All 10 582 images with augmented masks (SBD); a config names the lists of its split.
data_root = 'data/VOCdevkit/VOC2012/'
crop_size = (513, 513)
mean_bgr = (103.53, 116.28, 123.675)
resize = dict(
    type='RandomResize', scale=(500, 500), ratio_range=(0.5, 2.0), keep_ratio=True
)
crop = dict(type='RandomCrop', crop_size=crop_size)
pad = dict(type='Pad', size=crop_size, pad_val=dict(img=mean_bgr, seg=255))
flip = dict(type='RandomFlip', prob=0.5)
# On each of 4 GPUs: 8 labeled images a step.
labeled = dict(
    batch_size=2,
    num_workers=4,
    dataset=dict(
        type='PascalVOCDataset',
        data_root=data_root,
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug'),
        ann_file='ImageSets/Segmentation/trainaug.txt',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            resize,
            crop,
            pad,
            flip,
            dict(type='PackSegInputs'),
        ],
    ),
)
train_dataloader = dict(labeled=labeled)
