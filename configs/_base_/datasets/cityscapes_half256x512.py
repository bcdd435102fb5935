# The labeled stream of CTT on Cityscapes: images at half size, 512 x 1024, rotated and
# flipped, crops of 256 x 512. What a rotation uncovers has the mean colour of
# Cityscapes, in BGR.
# All 2 975 images for training; a config names the lists of its split.
data_root = 'data/cityscapes/'
crop_size = (256, 512)
half = dict(type='Resize', scale_factor=0.5)
rotate = dict(type='RandomRotate', prob=0.5, degree=10, pad_val=(72, 83, 73))
flip = dict(type='RandomFlip', prob=0.5)
labeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    half,
    rotate,
    dict(type='RandomCrop', crop_size=crop_size),
    flip,
    dict(type='PackSegInputs'),
]
# On one GPU: 2 labeled and 2 unlabeled images a step.
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
