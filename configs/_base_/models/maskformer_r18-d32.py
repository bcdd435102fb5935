# MaskFormer with ResNet-18, from scratch, BN: 128 channels, 30 queries, 3 decoder
# layers, for small data.
_base_ = './maskformer_r101-d32.py'
num_classes = 11
attention = dict(embed_dims=128, attn_drop=0.0, proj_drop=0.0)
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    student=dict(
        backbone=dict(
            type='ResNetV1c',
            depth=18,
            norm_cfg=norm_cfg,
            norm_eval=False,
            init_cfg=None,
        ),
        decode_head=dict(
            in_channels=[64, 128, 256, 512],
            feat_channels=128,
            out_channels=128,
            num_classes=num_classes,
            num_queries=30,
            pixel_decoder=dict(norm_cfg=dict(num_groups=16)),
            enforce_decoder_input_project=True,
            positional_encoding=dict(num_feats=64),
            transformer_decoder=dict(
                num_layers=3,
                layer_cfg=dict(
                    self_attn_cfg=attention,
                    cross_attn_cfg=attention,
                    ffn_cfg=dict(
                        embed_dims=128, feedforward_channels=512, ffn_drop=0.0
                    ),
                ),
            ),
            loss_cls=dict(class_weight=[1.0] * num_classes + [0.1]),
        ),
    ),
)
