# MaskFormer with ResNet-101, whose BatchNorm stays as pretrained: a pixel decoder of
# 256 channels, 50 queries, 6 decoder layers of 8 heads. Losses and costs of matching
# are MMSegmentation's: class 1 (no object 0.1), focal 20, Dice 1.
num_classes = 21
attention = dict(
    embed_dims=256,
    num_heads=8,
    attn_drop=0.1,
    proj_drop=0.1,
    dropout_layer=None,
    batch_first=True,
)
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
            norm_cfg=dict(type='SyncBN', requires_grad=True),
            norm_eval=True,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://download.pytorch.org/models/resnet101-5d3b4d8f.pth',
            ),
        ),
        decode_head=dict(
            type='MaskFormerHead',
            in_channels=[256, 512, 1024, 2048],
            feat_channels=256,
            out_channels=256,
            num_classes=num_classes,
            num_queries=50,
            pixel_decoder=dict(
                type='mmdet.PixelDecoder',
                norm_cfg=dict(type='GN', num_groups=32),
                act_cfg=dict(type='ReLU'),
            ),
            enforce_decoder_input_project=False,
            positional_encoding=dict(num_feats=128, normalize=True),
            transformer_decoder=dict(
                return_intermediate=True,
                num_layers=6,
                layer_cfg=dict(
                    self_attn_cfg=attention,
                    cross_attn_cfg=attention,
                    ffn_cfg=dict(
                        embed_dims=256,
                        feedforward_channels=2048,
                        num_fcs=2,
                        act_cfg=dict(type='ReLU', inplace=True),
                        ffn_drop=0.1,
                        dropout_layer=None,
                        add_identity=True,
                    ),
                ),
                init_cfg=None,
            ),
            loss_cls=dict(
                type='mmdet.CrossEntropyLoss',
                use_sigmoid=False,
                loss_weight=1.0,
                class_weight=[1.0] * num_classes + [0.1],
            ),
            loss_mask=dict(
                type='mmdet.FocalLoss',
                use_sigmoid=True,
                gamma=2.0,
                alpha=0.25,
                loss_weight=20.0,
            ),
            loss_dice=dict(
                type='mmdet.DiceLoss',
                use_sigmoid=True,
                activate=True,
                naive_dice=True,
                eps=1.0,
                loss_weight=1.0,
            ),
            train_cfg=dict(
                assigner=dict(
                    type='mmdet.HungarianAssigner',
                    match_costs=[
                        dict(type='mmdet.ClassificationCost', weight=1.0),
                        dict(
                            type='mmdet.FocalLossCost', weight=20.0, binary_input=True
                        ),
                        dict(type='mmdet.DiceCost', weight=1.0, pred_act=True, eps=1.0),
                    ],
                ),
                sampler=dict(type='mmdet.MaskPseudoSampler'),
            ),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    ),
)
