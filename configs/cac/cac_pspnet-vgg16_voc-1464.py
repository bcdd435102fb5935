# CAC, PSPNet-VGG16, the 1 464 masks of VOC 2012, 9 118 of SBD unlabeled: Table 5.
_base_ = [
    '../_base_/models/pspnet_vgg16-d8.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_overlap320.py',
    '../_base_/schedules/sgd-1e-2_92560.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='CAC',
    contrast=dict(
        type='OverlapContrast',
        num_negatives=6400,
        bank=dict(type='StepQueue', steps=1),
        start=5785,
    ),
)
lists = 'ImageSets/Segmentation/'
masks = dict(img_path='JPEGImages', seg_map_path='SegmentationClass')
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=lists + 'train.txt', data_prefix=masks)),
    unlabeled=dict(dataset=dict(images=lists + 'aug.txt')),
)
custom_hooks = [dict(type='MemoryHook')]
