"""Tiny, real MMSegmentation models, one of each supported kind of head."""

CLASSES = 5
BN = {'type': 'BN', 'requires_grad': True}
RESNET = {
    'type': 'ResNetV1c',
    'depth': 18,
    'base_channels': 8,
    'stem_channels': 8,
    'strides': (1, 2, 2, 1),
    'dilations': (1, 1, 1, 2),
    'norm_cfg': BN,
}
WIDTHS = [8, 16, 32, 64]
COMMON = {'channels': 16, 'num_classes': CLASSES, 'norm_cfg': BN}
LAST = {'in_channels': 64, 'in_index': 3, **COMMON}
ALL = {'in_channels': WIDTHS, 'in_index': [0, 1, 2, 3], **COMMON}
FCN = {'type': 'FCNHead', **LAST}
KERNEL_UPDATE = {
    'type': 'KernelUpdateHead',
    'num_classes': CLASSES,
    'num_ffn_fcs': 2,
    'num_heads': 2,
    'num_mask_fcs': 1,
    'feedforward_channels': 16,
    'in_channels': 16,
    'out_channels': 16,
    'feat_transform_cfg': {'conv_cfg': {'type': 'Conv2d'}, 'act_cfg': None},
    'kernel_updator_cfg': {
        'type': 'KernelUpdator',
        'in_channels': 8,
        'feat_channels': 8,
        'out_channels': 8,
        'norm_cfg': {'type': 'LN'},
    },
}


def encoder_decoder(head, backbone=None, **settings):
    return {
        'type': 'EncoderDecoder',
        'backbone': RESNET if backbone is None else backbone,
        'decode_head': head,
        'test_cfg': {'mode': 'whole'},
        **settings,
    }


ASPP = {'dilations': (1, 2), **LAST}
ATTENTION = {
    'type': 'ISAHead',
    'isa_channels': 8,
    'down_factor': (4, 4),
    **LAST,
}
ZOO = {
    'fcn': encoder_decoder(FCN, auxiliary_head={**FCN, 'num_convs': 1}),
    'fcn_without_dropout': encoder_decoder({**FCN, 'dropout_ratio': 0}),
    'psp': encoder_decoder({'type': 'PSPHead', 'pool_scales': (1, 2), **LAST}),
    'deeplabv2': encoder_decoder(
        {
            'type': 'DeepLabV2Head',
            'in_channels': 16,
            'in_index': 3,
            'num_classes': CLASSES,
            'dilations': (1, 2),
        },
        {**RESNET, 'base_channels': 2},
    ),
    'deeplabv3': encoder_decoder({'type': 'ASPPHead', **ASPP}),
    'deeplabv3plus': encoder_decoder(
        {
            'type': 'DepthwiseSeparableASPPHead',
            'c1_in_channels': 8,
            'c1_channels': 4,
            **ASPP,
        }
    ),
    'upernet': encoder_decoder({'type': 'UPerHead', 'pool_scales': (1, 2), **ALL}),
    'fpn': encoder_decoder(
        {
            'type': 'FPNHead',
            'feature_strides': [4, 8, 16, 16],
            **ALL,
            'in_channels': [16] * 4,
        },
        neck={'type': 'FPN', 'in_channels': WIDTHS, 'out_channels': 16, 'num_outs': 4},
    ),
    'isa': encoder_decoder(ATTENTION),
    'ann': encoder_decoder(
        {
            'type': 'ANNHead',
            **COMMON,
            'in_channels': [32, 64],
            'in_index': [2, 3],
            'project_channels': 8,
        }
    ),
    'danet': encoder_decoder({'type': 'DAHead', 'pam_channels': 8, **LAST}),
    'encnet': encoder_decoder(
        {'type': 'EncHead', **ALL, 'num_codes': 4, 'use_se_loss': True}
    ),
    'segformer': encoder_decoder(
        {'type': 'SegformerHead', **ALL, 'in_channels': [8, 16, 24, 32]},
        {
            'type': 'MixVisionTransformer',
            'embed_dims': 8,
            'num_layers': [1, 1, 1, 1],
            'num_heads': [1, 2, 3, 4],
        },
    ),
    'fastscnn': encoder_decoder(
        {
            'type': 'DepthwiseSeparableFCNHead',
            'in_channels': 16,
            'concat_input': False,
            'in_index': -1,
            **COMMON,
        },
        {
            'type': 'FastSCNN',
            'downsample_dw_channels': (8, 8),
            'global_in_channels': 16,
            'global_block_channels': (8, 8, 16),
            'global_out_channels': 16,
            'higher_in_channels': 16,
            'lower_in_channels': 16,
            'fusion_out_channels': 16,
            'norm_cfg': BN,
        },
    ),
    'ocrnet': {
        **encoder_decoder(
            [
                {**FCN, 'in_channels': 32, 'in_index': 2},
                {'type': 'OCRHead', 'ocr_channels': 8, **LAST},
            ]
        ),
        'type': 'CascadeEncoderDecoder',
        'num_stages': 2,
    },
    'knet': encoder_decoder(
        {
            'type': 'IterativeDecodeHead',
            'num_stages': 2,
            'kernel_update_head': [KERNEL_UPDATE, KERNEL_UPDATE],
            'kernel_generate_head': FCN,
        }
    ),
    'ddrnet': encoder_decoder(
        {
            'type': 'DDRHead',
            'in_channels': 32,
            **COMMON,
            'loss_decode': [{'type': 'CrossEntropyLoss'}] * 2,
        },
        {'type': 'DDRNet', 'channels': 8, 'ppm_channels': 8, 'norm_cfg': BN},
    ),
    'pidnet': encoder_decoder(
        {
            'type': 'PIDHead',
            'in_channels': 32,
            **COMMON,
            'loss_decode': [
                {'type': 'CrossEntropyLoss'},
                {'type': 'OhemCrossEntropy'},
                {'type': 'BoundaryLoss'},
                {'type': 'OhemCrossEntropy'},
            ],
        },
        {'type': 'PIDNet', 'channels': 8, 'ppm_channels': 8, 'norm_cfg': BN},
    ),
    'segmenter': encoder_decoder(
        {
            'type': 'SegmenterMaskTransformerHead',
            'in_channels': 16,
            'channels': 16,
            'num_classes': CLASSES,
            'num_layers': 1,
            'num_heads': 2,
            'embed_dims': 16,
            'dropout_ratio': 0.0,
        },
        {
            'type': 'VisionTransformer',
            'img_size': (64, 96),
            'embed_dims': 16,
            'num_layers': 1,
            'num_heads': 2,
            'final_norm': True,
        },
    ),
}
