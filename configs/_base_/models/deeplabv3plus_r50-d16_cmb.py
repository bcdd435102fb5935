# DeepLabV3+ of CMB: deeplabv3plus_r50-d16 without multi-grid and without dropout
# between the last two 3x3 convolutions, BN of the backbone with fixed scale and shift,
# tests without padding.
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='SupOnly',
    data_preprocessor=dict(
        type='SemiDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        test_cfg=None,
    ),
    student=dict(
        type='EncoderDecoder',
        backbone=dict(
            type='ResNet',
            depth=50,
            strides=(1, 2, 2, 1),
            dilations=(1, 1, 1, 2),
            multi_grid=None,
            norm_cfg=dict(type='SyncBN', requires_grad=False),
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://download.pytorch.org/models/resnet50-19c8e357.pth',
            ),
        ),
        decode_head=dict(
            type='DeepLabV3PlusHead',
            in_channels=2048,
            in_index=3,
            channels=256,
            dilations=(1, 6, 12, 18),
            c1_in_channels=256,
            c1_channels=48,
            dropout_ratio=0.1,
            fuse_dropout=0,
            num_classes=21,
            norm_cfg=norm_cfg,
            align_corners=True,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    ),
)
