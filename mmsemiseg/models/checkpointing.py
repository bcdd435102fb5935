"""A forward pass that keeps no activations."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recomputed(network: nn.Module, function: Callable, *args):
    """``function(*args)``, but its activations are recomputed in the backward pass.

    Losses and gradients stay the same: dropout repeats its numbers, and the second
    pass does not move the statistics of BatchNorm.

    Args:
        network: Network whose modules the function runs.
        function: Function that returns tensors, in any nesting.
    """
    passes = 0

    def run(*args):
        nonlocal passes
        passes += 1
        if passes == 1:
            return function(*args)
        with _still_statistics(network):
            return function(*args)

    return checkpoint(run, *args, use_reentrant=False)


def run_pass(network: nn.Module, recompute: bool, function: Callable, *args):
    """``function(*args)``, with ``recompute`` as :func:`recomputed` runs it."""
    return recomputed(network, function, *args) if recompute else function(*args)


@contextmanager
def _still_statistics(network: nn.Module) -> Iterator[None]:
    norms = [
        module
        for module in network.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)
