# The labeled stream of ESL on Cityscapes: 0.5 to 2 times the size, crops of 769.
# All 2 975 images for training; a config names the lists of its split.
data_root = 'data/cityscapes/'
crop_size = (769, 769)
mean_bgr = (103.53, 116.28, 123.675)
resize = dict(
    type='RandomResize', scale=(2048, 2048), ratio_range=(0.5, 2.0), keep_ratio=True
)
crop = dict(type='RandomCrop', crop_size=crop_size)
pad = dict(type='Pad', size=crop_size, pad_val=dict(img=mean_bgr, seg=255))
flip = dict(type='RandomFlip', prob=0.5)
# On each of 4 GPUs: 8 labeled images a step.
labeled = dict(
    batch_size=2,
    num_workers=4,
    dataset=dict(
        type='CityscapesDataset',
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
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
