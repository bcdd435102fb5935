"""A perceptron over vectors of pixels."""

from mmengine.model import BaseModule
from torch import Tensor, nn

from ...utils.profiling import stage
from .masked_batch_norm import MaskedBatchNorm


class MLPHead(BaseModule):
    """Two-layer perceptron: Linear, BatchNorm, ReLU, Linear.

    The first layer has no bias, which BatchNorm would cancel.

    Args:
        in_channels: Width D of the input.
        hidden_channels: Width of the first layer.
        channels: Width D' of the output.
        init_cfg: Initialisation in MMEngine's form.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int = 256,
        channels: int = 256,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        for name, value in (
            ('in_channels', in_channels),
            ('hidden_channels', hidden_channels),
            ('channels', channels),
        ):
            if value < 1:
                raise ValueError(f'{name} must be at least 1, but got {value}')
        self.first = nn.Linear(in_channels, hidden_channels, bias=False)
        self.norm = MaskedBatchNorm(hidden_channels)
        self.activation = nn.ReLU(inplace=True)
        self.second = nn.Linear(hidden_channels, channels)

    @stage('projection')
    def forward(self, rows: Tensor, mask: Tensor | None = None) -> Tensor:
        """Output (n, D') of vectors (n, D).

        Only those where ``mask`` (n,) is True enter the BatchNorm statistics.
        """
        return self.second(self.activation(self.norm(self.first(rows), mask)))
