"""From features to the embeddings that contrastive losses compare."""

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from .split_head import SplitHead


@MODELS.register_module()
class ProjectionHead(SplitHead):
    """Projector: 1x1 convolution, ReLU, 1x1 convolution, scaling to unit length.

    Args:
        in_channels: Number of channels D of the features.
        channels: Number of channels D' of the embeddings.
        hidden_channels: Number of channels of the first layer; None: D.
        init_cfg: Initialisation in MMEngine's form.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int = 128,
        hidden_channels: int | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        hidden_channels = in_channels if hidden_channels is None else hidden_channels
        for name, value in (
            ('in_channels', in_channels),
            ('channels', channels),
            ('hidden_channels', hidden_channels),
        ):
            if value < 1:
                raise ValueError(f'{name} must be at least 1, but got {value}')
        self.channels = channels
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, hidden_channels, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden_channels, channels, 1),
        )

    def body(self, features: Tensor) -> Tensor:
        return features

    def end(self, features: Tensor) -> Tensor:
        """Features (N, D, h, w) -> embeddings (N, D', h, w) float32 of unit length."""
        return unit_length(self.layers(features))


def unit_length(features: Tensor) -> Tensor:
    """Divide by the length over dimension 1, in fp32, also under autocast."""
    with torch.autocast(features.device.type, enabled=False):
        return F.normalize(features.float(), dim=1)
