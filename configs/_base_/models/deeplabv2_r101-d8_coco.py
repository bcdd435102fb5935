# DeepLabV2 with ResNet-101 as in deeplabv2_r101-d8, from weights of COCO, converted by
# tools/convert_weights.py (see docs/pretrained.md): stride in the 1x1 convolutions,
# BGR, (x - mean) / 255 with the mean of VOC. The published code of CMB takes that of
# Cityscapes on Cityscapes, mean=[72.39239876, 82.90891754, 73.15835921].
weights = 'pretrained/deeplabv2_r101_coco.pth'
model = dict(
    type='SupOnly',
    data_preprocessor=dict(
        type='SemiDataPreProcessor',
        mean=[104.00698793, 116.66876762, 122.67891434],
        std=[255, 255, 255],
        bgr_to_rgb=False,
    ),
    student=dict(
        type='EncoderDecoder',
        backbone=dict(
            type='ResNet',
            depth=101,
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            norm_cfg=dict(type='SyncBN', requires_grad=False),
            norm_eval=False,
            style='caffe',
            init_cfg=dict(type='Pretrained', checkpoint=weights, prefix='backbone.'),
        ),
        decode_head=dict(
            type='DeepLabV2Head',
            in_channels=2048,
            in_index=3,
            dilations=(6, 12, 18, 24),
            num_used=2,
            num_classes=21,
            align_corners=True,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    ),
)
