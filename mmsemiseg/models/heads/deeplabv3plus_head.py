"""DeepLabV3+ with plain convolutions."""

import torch
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads import ASPPHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...utils.settings import check_choices
from .classifier_dropout import set_classifier_dropout


@MODELS.register_module()
class DeepLabV3PlusHead(ASPPHead):
    """DeepLabV3+ with plain convolutions, as published semi-supervised codes have it.

    The ASPP (with a 1x1 convolution and dropout) and the first map of the backbone
    (through a 1x1 convolution) are concatenated; then come 3x3, dropout, 3x3.
    MMSegmentation's ``DepthwiseSeparableASPPHead`` differs: it separates its
    convolutions, has a 3x3 bottleneck and no dropout but the classifier's.

    The features are at the resolution of the first map and include the low-level
    branch.

    Args:
        c1_in_channels: Number of channels of the first map of the backbone.
        c1_channels: Number of channels to which a 1x1 convolution reduces the first
            map.
        aspp_dropout: Dropout probability after the ASPP, in [0, 1).
        fuse_dropout: Dropout probability between the two 3x3 convolutions, in [0, 1).
        fuse_convs: Number of the 3x3 convolutions, 2 or 0. With 0 the concatenated maps
            themselves are the features, for a classifier that has such convolutions
            (``BlockClassifierHead``).
        dropout_per: Whether the dropout in front of the classifier drops whole channels
            of an image, ``'channel'``, or single elements, ``'element'``, as the
            published codes do; its probability is ``dropout_ratio``.
        base: All other settings are those of ``ASPPHead``. An ``init_cfg`` of a layer,
            such as ``dict(type='Normal', layer='Conv2d', std=0.01)``, holds for all
            layers of this kind in the head.
    """

    def __init__(
        self,
        c1_in_channels: int,
        c1_channels: int = 48,
        aspp_dropout: float = 0.5,
        fuse_dropout: float = 0.5,
        fuse_convs: int = 2,
        dropout_per: str = 'channel',
        **base,
    ) -> None:
        super().__init__(**base)
        set_classifier_dropout(self, dropout_per)
        for name, value in (
            ('aspp_dropout', aspp_dropout),
            ('fuse_dropout', fuse_dropout),
        ):
            if not 0 <= value < 1:
                raise ValueError(f'{name} must be in [0, 1), but got {value}')
        check_choices(fuse_convs=(fuse_convs, (0, 2)))
        width = self.channels
        self.bottleneck = self._conv((len(self.dilations) + 1) * width, width, 1)
        self.aspp_dropout = nn.Dropout(aspp_dropout)
        self.c1_bottleneck = self._conv(c1_in_channels, c1_channels, 1)
        self.fuse = nn.Sequential()
        if fuse_convs:
            self.fuse = nn.Sequential(
                self._conv(width + c1_channels, width, 3),
                nn.Dropout(fuse_dropout),
                self._conv(width, width, 3),
            )
        else:
            self.conv_seg = nn.Conv2d(width + c1_channels, self.out_channels, 1)
        if 'init_cfg' in base:
            for layer in (self.bottleneck, self.c1_bottleneck):
                layer.is_init = True  # or ConvModule would replace what init_cfg says

    def _conv(self, in_channels: int, channels: int, kernel: int) -> ConvModule:
        return ConvModule(
            in_channels,
            channels,
            kernel,
            padding=kernel // 2,
            conv_cfg=self.conv_cfg,
            norm_cfg=self.norm_cfg,
            act_cfg=self.act_cfg,
        )

    def _forward_feature(self, inputs: list[Tensor]) -> Tensor:
        """Maps of the backbone -> (N, channels, H / 4, W / 4), before the dropout."""
        low = self.c1_bottleneck(inputs[0])
        deep = self.aspp_dropout(super()._forward_feature(inputs))
        deep = resize(
            deep, low.shape[2:], mode='bilinear', align_corners=self.align_corners
        )
        return self.fuse(torch.cat([deep, low], dim=1))
