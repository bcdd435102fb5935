# The labeled stream of CMB with DeepLabV2 on Cityscapes: crops of 512 of images at half
# size, 512 x 1024.
# All 2 975 images for training; a config names the lists of its split.
data_root = 'data/cityscapes/'
crop_size = (512, 512)
half = dict(type='Resize', scale_factor=0.5)
labeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    half,
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='PackSegInputs'),
]
# On one GPU: 5 labeled and 2 unlabeled images a step.
labeled = dict(
    batch_size=5,
    num_workers=4,
    dataset=dict(
        type='CityscapesDataset',
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=labeled_pipeline,
    ),
)
train_dataloader = dict(labeled=labeled)
