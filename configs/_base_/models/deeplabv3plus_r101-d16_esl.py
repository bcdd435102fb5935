# DeepLabV3+ of ESL with ResNet-101: the decoder ends with the concatenated maps. The
# classifier has two blocks of its own, as the projector beside it (heads of U2PL).
norm_cfg = dict(type='SyncBN', requires_grad=True)
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
            strides=(1, 2, 2, 1),
            dilations=(1, 1, 1, 2),
            multi_grid=(2, 4, 8),
            norm_cfg=norm_cfg,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://download.pytorch.org/models/resnet101-5d3b4d8f.pth',
            ),
        ),
        decode_head=dict(
            type='BlockClassifierHead',
            head='DeepLabV3PlusHead',
            blocks=dict(norm_cfg=norm_cfg),
            in_channels=2048,
            in_index=3,
            channels=256,
            dilations=(1, 6, 12, 18),
            c1_in_channels=256,
            c1_channels=256,
            aspp_dropout=0.1,
            fuse_convs=0,
            num_classes=21,
            norm_cfg=norm_cfg,
            align_corners=True,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    ),
)
