"""Copies of networks."""

import copy

from torch import Tensor, nn


def copy_network(network: nn.Module) -> nn.Module:
    """A deep copy, also of layers whose weight is computed anew in each forward.

    ``torch.nn.utils.weight_norm`` and ``spectral_norm`` keep the computed weight as an
    attribute with a gradient history, which PyTorch does not copy. It is replaced by
    its value; the next forward computes it again.
    """
    for module in network.modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                setattr(module, name, value.detach())
    return copy.deepcopy(network)
