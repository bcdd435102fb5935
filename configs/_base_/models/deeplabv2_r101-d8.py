# DeepLabV2 with ResNet-101 at output stride 8, the first two of its four branches, as
# in published semi-supervised codes. The backbone's BN has fixed scale and shift; its
# statistics follow the data. Features before the classifier: 2048 wide, stride 8.
weights = 'https://download.pytorch.org/models/resnet101-5d3b4d8f.pth'
model = dict(
    type='SupOnly',
    data_preprocessor=dict(
        type='SemiDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
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
            style='pytorch',
            init_cfg=dict(type='Pretrained', checkpoint=weights),
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
