# PSPNet on VGG-16 at output stride 8 (conv5 dilated by 2), no auxiliary head.
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='SupOnly',
    data_preprocessor=dict(
        type='SemiDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        test_cfg=dict(size_divisor=8),
    ),
    student=dict(
        type='EncoderDecoder',
        backbone=dict(
            type='DilatedVGG',
            depth=16,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://download.pytorch.org/models/vgg16-397923af.pth',
            ),
        ),
        decode_head=dict(
            type='PSPHead',
            in_channels=512,
            in_index=0,
            channels=512,
            pool_scales=(1, 2, 3, 6),
            dropout_ratio=0,
            init_cfg=None,  # the classifier as PyTorch starts it, as published
            num_classes=21,
            norm_cfg=norm_cfg,
            align_corners=True,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    ),
)
