"""Projector, predictor and attention of the contrast with a class-wise bank."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from .class_attention import ClassAttention
from .mlp_head import MLPHead

SELECTORS = ('projection', 'prediction')


class BankContrastHead(BaseModule):
    """Projector z = g(v) and predictor p = q(z), with attention that weighs z and p.

    Args:
        in_channels: Width of the features v.
        num_classes: Number of classes C.
        hidden_channels: Width of the hidden layers of projector and predictor.
        channels: Width D of projections and predictions.
        selectors: Attention modules that are built: ``'prediction'`` weighs p,
            ``'projection'`` weighs z, of which the bank's rows are made.
        unit_keys: Whether the attention on projections sees them scaled to length 1.
        init_cfg: Initialisation in MMEngine's form.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        hidden_channels: int = 256,
        channels: int = 256,
        selectors: tuple[str, ...] = SELECTORS,
        unit_keys: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.projection = MLPHead(in_channels, hidden_channels, channels)
        self.prediction = MLPHead(channels, hidden_channels, channels)
        self.attention = torch.nn.ModuleDict(
            {name: ClassAttention(num_classes, channels) for name in selectors}
        )
        self.unit_keys = unit_keys

    def forward(self, rows: Tensor, mask: Tensor | None = None) -> Tensor:
        """Predictions (n, D) of features (n, in_channels).

        Only rows where ``mask`` (n,) is True enter the BatchNorm statistics.
        """
        return self.prediction(self.projection(rows, mask), mask)

    def key_weights(self, keys: Tensor, filled: Tensor) -> Tensor:
        """Weights (C, N) of keys (C, N, D) of a bank; 0 where not ``filled`` (C, N)."""
        return self.attention['projection'].of_keys(self._seen(keys), filled)

    def scores(self, rows: Tensor, group: Tensor, selector: str) -> Tensor:
        """Scores (n,) that rank projections (n, D) of the classes ``group`` (n,)."""
        rows = self._seen(rows) if selector == 'projection' else rows
        return self.attention[selector](rows, group)

    def _seen(self, keys: Tensor) -> Tensor:
        return F.normalize(keys, dim=-1) if self.unit_keys else keys
