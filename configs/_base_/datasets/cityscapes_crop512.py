# The labeled stream of CMB with DeepLabV3+ on Cityscapes: crops of 512 at full size.
# All else is done to whole batches (BatchAugment).
# All 2 975 images for training; a config names the lists of its split.
data_root = 'data/cityscapes/'
crop_size = (512, 512)
labeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='PackSegInputs'),
]
# On one GPU: 7 labeled and 3 unlabeled images a step.
labeled = dict(
    batch_size=7,
    num_workers=4,
    dataset=dict(
        type='CityscapesDataset',
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=labeled_pipeline,
    ),
)
train_dataloader = dict(labeled=labeled)
