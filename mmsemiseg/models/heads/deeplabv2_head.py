"""DeepLabV2: dilated convolutions from the backbone's map straight to the classes."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from .classifier_dropout import set_classifier_dropout


class DilatedSum(BaseModule):
    """Sum of 3x3 convolutions with a dilation each: (N, D, h, w) -> (N, C, h, w)."""

    def __init__(
        self, in_channels: int, out_channels: int, dilations: Sequence[int]
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels, out_channels, 3, padding=step, dilation=step)
            for step in dilations
        )

    def forward(self, features: Tensor) -> Tensor:
        first, *others = self.convs
        logits = first(features)
        for conv in others:
            logits = logits + conv(features)
        return logits


@MODELS.register_module()
class DeepLabV2Head(BaseDecodeHead):
    """The atrous spatial pyramid of DeepLabV2, its sum in ``conv_seg``.

    There is no layer in front of the classifier, so ``feature='pre_cls'`` gives the map
    of the backbone itself, and ``channels`` cannot be set: it is ``in_channels``.

    Args:
        in_channels: Number of channels D of the map of the backbone.
        dilations: Dilations of the branches, one for each.
        num_used: Number of branches that are used, counted from the first; None: all.
            With 2 it is the head of many published semi-supervised codes, whose loop
            over the branches ends after the second one.
        dropout_ratio: Probability of the dropout in front of the branches.
        dropout_per: Whether the dropout in front of the branches drops whole channels
            of an image, ``'channel'``, or single elements, ``'element'``.
        base: All other settings are those of ``BaseDecodeHead``.
    """

    def __init__(
        self,
        in_channels: int,
        dilations: Sequence[int] = (6, 12, 18, 24),
        num_used: int | None = None,
        dropout_ratio: float = 0.0,
        dropout_per: str = 'channel',
        **base,
    ) -> None:
        if 'channels' in base:
            raise ValueError(
                'DeepLabV2Head has no setting channels: it is in_channels, as nothing '
                f'is in front of the classifier, but got {base["channels"]}'
            )
        super().__init__(in_channels, 1, dropout_ratio=dropout_ratio, **base)
        set_classifier_dropout(self, dropout_per)
        if self.input_transform == 'multiple_select':
            raise ValueError('input_transform must be None or resize_concat')
        if not dilations or min(dilations) < 1:
            raise ValueError(f'dilations must be 1 or more, but got {dilations}')
        num_used = len(dilations) if num_used is None else num_used
        if not 1 <= num_used <= len(dilations):
            raise ValueError(
                f'num_used must be in 1..{len(dilations)}, the number of dilations, '
                f'but got {num_used}'
            )
        self.channels = self.in_channels
        self.dilations = tuple(dilations[:num_used])
        self.conv_seg = DilatedSum(self.in_channels, self.out_channels, self.dilations)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps of the backbone -> logits (N, C, h, w)."""
        return self.cls_seg(self._transform_inputs(inputs))
