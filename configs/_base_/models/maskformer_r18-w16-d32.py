# MaskFormer with a quarter-width ResNet-18: 64 channels, 20 queries, 2 decoder layers.
# Small enough to train on a CPU.
_base_ = './maskformer_r101-d32.py'
num_classes = 6
attention = dict(embed_dims=64, num_heads=4, attn_drop=0.0, proj_drop=0.0)
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    student=dict(
        backbone=dict(
            type='ResNetV1c',
            depth=18,
            stem_channels=16,
            base_channels=16,
            norm_cfg=norm_cfg,
            norm_eval=False,
            init_cfg=None,
        ),
        decode_head=dict(
            in_channels=[16, 32, 64, 128],
            feat_channels=64,
            out_channels=64,
            num_classes=num_classes,
            num_queries=20,
            pixel_decoder=dict(norm_cfg=dict(num_groups=8)),
            enforce_decoder_input_project=True,
            positional_encoding=dict(num_feats=32),
            transformer_decoder=dict(
                num_layers=2,
                layer_cfg=dict(
                    self_attn_cfg=attention,
                    cross_attn_cfg=attention,
                    ffn_cfg=dict(embed_dims=64, feedforward_channels=256, ffn_drop=0.0),
                ),
            ),
            loss_cls=dict(class_weight=[1.0] * num_classes + [0.1]),
        ),
    ),
)
