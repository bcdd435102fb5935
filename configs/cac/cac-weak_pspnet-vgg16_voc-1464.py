# CAC, PSPNet-VGG16, the 1 464 masks of VOC 2012, image labels of 9 118 of SBD: Table 5.
# tools/cam_masks.py makes `cam/index.json` from the labels.
_base_ = [
    '../_base_/models/pspnet_vgg16-d8.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_overlap320.py',
    '../_base_/schedules/sgd-1e-2_92560.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='CACWeak',
    contrast=dict(
        type='OverlapContrast',
        num_negatives=6400,
        bank=dict(type='StepQueue', steps=1),
        start=5785,
    ),
    weak=dict(
        type='WeakClassifier',
        stream='unlabeled',
        weight=0.4,
        ramp_up=dict(kind='exp', length=9256),
    ),
)
lists = 'ImageSets/Segmentation/'
masks = dict(img_path='JPEGImages', seg_map_path='SegmentationClass')
weak = dict(
    _delete_=True,
    type='PseudoMaskDataset',
    ann_file=_base_.data_root + 'cam/index.json',
    metainfo=dict(
        classes=(
            'background aeroplane bicycle bird boat bottle bus car cat chair cow '
            'diningtable dog horse motorbike person pottedplant sheep sofa train '
            'tvmonitor'
        ).split(),
    ),
    pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(
            type='LabeledOverlapCrops',
            crop_size={{_base_.crop_size}},
            iou_range=(0.1, 1.0),
            stride=8,
            pad_val={{_base_.mean_bgr}},
            shared=[{{_base_.unlabeled_resize}}],
            pipeline={{_base_.crop_pipeline}},
        ),
    ],
)
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=lists + 'train.txt', data_prefix=masks)),
    unlabeled=dict(dataset=weak),
)
custom_hooks = [dict(type='MemoryHook')]
