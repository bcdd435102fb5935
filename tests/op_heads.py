"""Tiny segmentors whose heads need the compiled ops of mmcv, most of them mmdet too."""

import copy

import pytest
from mmengine.config import ConfigDict
from zoo import BN, CLASSES, RESNET, WIDTHS, ZOO, encoder_decoder

try:
    from mmcv import ops  # noqa: F401
    from mmdet.models.dense_heads import MaskFormerHead  # noqa: F401

    MISSING = None
except ImportError as error:
    MISSING = str(error)

needs_ops = pytest.mark.skipif(MISSING is not None, reason=f'no mmdet: {MISSING}')
WIDTH, QUERIES = 64, 10
MASKS = ('maskformer', 'mask2former')


def _attention(**settings):
    return dict(embed_dims=WIDTH, num_heads=2, batch_first=True, **settings)


FFN = dict(
    embed_dims=WIDTH,
    feedforward_channels=WIDTH,
    num_fcs=2,
    act_cfg=dict(type='ReLU', inplace=True),
)


def _common(classes, drop):
    attention = _attention(attn_drop=drop, proj_drop=drop)
    return dict(
        in_channels=WIDTHS,
        feat_channels=WIDTH,
        out_channels=WIDTH,
        num_classes=classes,
        num_queries=QUERIES,
        positional_encoding=dict(num_feats=WIDTH // 2, normalize=True),
        transformer_decoder=dict(
            return_intermediate=True,
            num_layers=2,
            layer_cfg=dict(
                self_attn_cfg=attention,
                cross_attn_cfg=attention,
                ffn_cfg=dict(FFN, ffn_drop=drop),
            ),
            init_cfg=None,
        ),
        loss_cls=dict(
            type='mmdet.CrossEntropyLoss',
            use_sigmoid=False,
            class_weight=[1.0] * classes + [0.1],
        ),
        loss_dice=dict(
            type='mmdet.DiceLoss',
            use_sigmoid=True,
            activate=True,
            naive_dice=True,
            eps=1.0,
        ),
    )


def _matching(*costs):
    assigner = dict(
        type='mmdet.HungarianAssigner',
        match_costs=[
            dict(type='mmdet.ClassificationCost', weight=1.0),
            dict(type='mmdet.DiceCost', weight=1.0, pred_act=True, eps=1.0),
            *costs,
        ],
    )
    return dict(assigner=assigner, sampler=dict(type='mmdet.MaskPseudoSampler'))


def _maskformer(classes, drop):
    cost = dict(type='mmdet.FocalLossCost', weight=20.0, binary_input=True)
    return dict(
        _common(classes, drop),
        type='MaskFormerHead',
        pixel_decoder=dict(
            type='mmdet.PixelDecoder', norm_cfg=dict(type='GN', num_groups=8)
        ),
        enforce_decoder_input_project=True,
        loss_mask=dict(type='mmdet.FocalLoss', use_sigmoid=True, loss_weight=20.0),
        train_cfg=_matching(cost),
    )


def _mask2former(classes, drop):
    cost = dict(type='mmdet.CrossEntropyLossCost', weight=5.0, use_sigmoid=True)
    deformable = _attention(num_levels=3, num_points=2, dropout=drop)
    return dict(
        _common(classes, drop),
        type='Mask2FormerHead',
        strides=[4, 8, 16, 32],
        num_transformer_feat_level=3,
        pixel_decoder=dict(
            type='mmdet.MSDeformAttnPixelDecoder',
            num_outs=3,
            norm_cfg=dict(type='GN', num_groups=8),
            encoder=dict(
                num_layers=1, layer_cfg=dict(self_attn_cfg=deformable, ffn_cfg=FFN)
            ),
            positional_encoding=dict(num_feats=WIDTH // 2, normalize=True),
        ),
        loss_mask=dict(
            type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=5.0
        ),
        train_cfg=dict(
            _matching(cost),
            num_points=256,
            oversample_ratio=3.0,
            importance_sample_ratio=0.75,
        ),
    )


def mask_student(name, classes=CLASSES, drop=0.0):
    """An ``EncoderDecoder`` on an R18 of 8 channels: 10 queries, 64 channels."""
    head = dict(maskformer=_maskformer, mask2former=_mask2former)[name](classes, drop)
    backbone = dict(RESNET, strides=(1, 2, 2, 2), dilations=(1,) * 4, norm_cfg=BN)
    return ConfigDict(copy.deepcopy(encoder_decoder(head, backbone)))


def point_student(classes=CLASSES, **test_cfg):
    """PointRend: a cascade of Semantic FPN and a head of points."""
    fpn = copy.deepcopy(ZOO['fpn'])
    coarse = dict(fpn['decode_head'], num_classes=classes, dropout_ratio=0)
    settings = dict(subdivision_steps=2, subdivision_num_points=64, scale_factor=2)
    points = dict(
        type='PointHead',
        in_channels=[16],
        in_index=[0],
        channels=16,
        num_fcs=1,
        num_classes=classes,
        dropout_ratio=0,
    )
    sampling = dict(num_points=64, oversample_ratio=3, importance_sample_ratio=0.75)
    return ConfigDict(
        fpn,
        type='CascadeEncoderDecoder',
        num_stages=2,
        decode_head=[coarse, points],
        train_cfg=sampling,
        test_cfg=dict(mode='whole', **settings, **test_cfg),
    )


def op_student(name, classes=CLASSES):
    return (
        point_student(classes) if name == 'pointrend' else mask_student(name, classes)
    )
