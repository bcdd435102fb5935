# CAC, PSPNet-R50, the 1 464 masks of VOC 2012, 9 118 of SBD unlabeled: Table 5.
_base_ = [
    '../_base_/methods/cac_pspnet-r50.py',
    '../_base_/datasets/voc_val.py',
    '../_base_/datasets/voc-aug_overlap320.py',
    '../_base_/schedules/sgd-1e-2_92560.py',
]
lists = 'ImageSets/Segmentation/'
masks = dict(img_path='JPEGImages', seg_map_path='SegmentationClass')
train_dataloader = dict(
    labeled=dict(dataset=dict(ann_file=lists + 'train.txt', data_prefix=masks)),
    unlabeled=dict(dataset=dict(images=lists + 'aug.txt')),
)
