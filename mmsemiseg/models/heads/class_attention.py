"""Learned weights of vectors, from a small network for each class."""

import math

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...functional import class_attention, tiles_by_group
from ...utils.profiling import stage
from .masked_batch_norm import update_running

TILE = 128


class ClassAttention(BaseModule):
    """One small network for each class that gives its vectors weights in (0, 1).

    Each is Linear, BatchNorm, LeakyReLU(0.2), Linear, sigmoid; the C networks run as
    one. Network c, with its BatchNorm, sees the vectors of class c alone. The vectors
    get no gradient. The first layers have no bias, which BatchNorm would cancel.

    Args:
        num_classes: Number of classes C.
        in_channels: Width D of the vectors.
        hidden_channels: Width H of the first layer; None: D.
        init_cfg: Initialisation in MMEngine's form.
    """

    eps = 1e-5
    momentum = 0.1

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        hidden_channels: int | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        hidden = in_channels if hidden_channels is None else hidden_channels
        for name, value in (
            ('num_classes', num_classes),
            ('in_channels', in_channels),
            ('hidden_channels', hidden),
        ):
            if value < 1:
                raise ValueError(f'{name} must be at least 1, but got {value}')
        self.num_classes = num_classes
        self.first = nn.Parameter(_uniform(num_classes, in_channels, hidden))
        self.norm_weight = nn.Parameter(torch.ones(num_classes, hidden))
        self.norm_bias = nn.Parameter(torch.zeros(num_classes, hidden))
        self.second = nn.Parameter(_uniform(num_classes, hidden))
        self.second_bias = nn.Parameter(_uniform(num_classes, 1, fan_in=hidden)[:, 0])
        self.register_buffer('running_mean', torch.zeros(num_classes, hidden))
        self.register_buffer('running_var', torch.ones(num_classes, hidden))

    @stage('attention')
    def forward(self, rows: Tensor, group: Tensor) -> Tensor:
        """Weights (n,) in (0, 1) of vectors (n, D) of classes (n,); 0 for no class."""
        n = len(rows)
        if n == 0:
            return self.second_bias.new_zeros(0)
        tiles = tiles_by_group(group, self.num_classes, TILE)
        index = tiles.index.flatten()
        tiled = rows.detach().index_select(0, index).view(*tiles.index.shape, -1)
        weights = self._weights(tiled, tiles.filled, tiles.group)
        spare = torch.where(tiles.filled.flatten(), index, n)  # no row is there
        return weights.new_zeros(n + 1).scatter(0, spare, weights.flatten())[:n]

    @stage('attention')
    def of_keys(self, keys: Tensor, filled: Tensor) -> Tensor:
        """Weights (C, N) of vectors (C, N, D) of each class; 0 where not filled."""
        return self._weights(keys.clone(), filled)

    def _weights(
        self, rows: Tensor, filled: Tensor, group: Tensor | None = None
    ) -> Tensor:
        """Weights of tiles, which are overwritten; group None: tile c is class c."""
        statistics = None
        if not self.training:
            statistics = self.running_mean, self.running_var
        scores, count, mean, variance = class_attention(
            rows,
            filled,
            group,
            self.first,
            self.norm_weight,
            self.norm_bias,
            self.second,
            statistics,
            self.eps,
            overwrite=True,
        )
        if self.training:
            update_running(self, count, mean, variance)
        bias = self.second_bias if group is None else self.second_bias[group]
        scores = scores + bias[:, None]
        return torch.where(filled, scores.sigmoid(), 0)


def _uniform(*shape: int, fan_in: int | None = None) -> Tensor:
    """Initialise like ``nn.Linear``, with the inputs in dimension 1."""
    bound = 1 / math.sqrt(fan_in or shape[1])
    return torch.empty(shape).uniform_(-bound, bound)
