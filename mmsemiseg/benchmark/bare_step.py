"""The passes of a training step, recorded and run again without anything else."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor, nn

from ..models import SegmentorAdapter, SemiSegmentor
from ..utils.profiling import stage


class Call(NamedTuple):
    """One pass of a network inside a full step.

    Args:
        network: Name in ``model.networks``.
        kind: Kind of the pass: ``'loss'`` (the segmentor's own) or ``'forward'`` (up to
            its logits).
        inputs: Detached images (N, 3, H, W).
        data_samples: Data samples of a ``'loss'``; None of a ``'forward'``.
        grad: Whether a gradient is computed.
        modes: Value of ``training`` of each module of the network.
    """

    network: str
    kind: str
    inputs: Tensor
    data_samples: list | None
    grad: bool
    modes: tuple[bool, ...]

    def describe(self) -> dict:
        return dict(
            network=self.network,
            kind=self.kind,
            shape=list(self.inputs.shape),
            grad=self.grad,
            mode='train' if self.modes[0] else 'eval',
        )


@contextmanager
def recorded_calls(model: SemiSegmentor) -> Iterator[list[Call]]:
    """Collect the passes of all networks, those inside a ``loss()`` only once."""
    calls: list[Call] = []
    inside = []

    def record(name: str, network: nn.Module, kind: str, method: Callable):
        def run(inputs, *args, **kwargs):
            if not inside:
                trained = any(p.requires_grad for p in network.parameters())
                samples = (args or list(kwargs.values()))[0] if kind == 'loss' else None
                calls.append(
                    Call(
                        name,
                        kind,
                        inputs.detach().clone(),
                        samples,
                        torch.is_grad_enabled() and trained,
                        tuple(module.training for module in network.modules()),
                    )
                )
            inside.append(name)
            try:
                return method(inputs, *args, **kwargs)
            finally:
                inside.pop()

        return run

    with ExitStack() as stack:
        for name, network in model.networks.items():
            for method, kind in (('loss', 'loss'), ('extract_feat', 'forward')):
                value = record(name, network, kind, getattr(network, method))
                stack.enter_context(patch.object(network, method, value))
        yield calls


class BareStep:
    """Runs recorded passes and one optimizer step that leaves the weights."""

    def __init__(self, model: SemiSegmentor, optim_wrapper, calls: list[Call]) -> None:
        self.model = model
        self.optim_wrapper = optim_wrapper
        self.calls = calls
        self.adapters = {
            name: SegmentorAdapter(network, feature=None)
            for name, network in model.networks.items()
        }

    def __call__(self) -> None:
        wrapper = self.optim_wrapper
        counted = wrapper._inner_count  # of the backward calls in an accumulation
        groups = wrapper.param_groups
        rates = [group['lr'] for group in groups]
        for call in self.calls:
            self._run(call)
        for group in groups:
            group['lr'] = 0.0
        wrapper.step()
        wrapper.zero_grad()
        for group, rate in zip(groups, rates, strict=True):
            group['lr'] = rate
        wrapper._inner_count = counted

    def _run(self, call: Call) -> None:
        network = self.model.networks[call.network]
        for module, mode in zip(network.modules(), call.modes, strict=True):
            module.training = mode
        with torch.set_grad_enabled(call.grad):
            with self.optim_wrapper.optim_context(self.model):
                if call.kind == 'loss':
                    with stage('supervised pass'):
                        losses = network.loss(call.inputs, call.data_samples)
                    total, _ = self.model.parse_losses(losses)
                else:
                    logits = self.adapters[call.network](network, call.inputs).logits
                    total = logits.mean() if call.grad else None
            if call.grad:
                self.optim_wrapper.backward(total)
