"""Tensors that a step leaves for hooks."""

from ...utils.model import unwrap


def pending(runner) -> list[dict]:
    """``model.pending`` of each batch of the last step, in order."""
    if hasattr(runner.train_loop, 'pending'):
        return runner.train_loop.pending
    return [getattr(unwrap(runner.model), 'pending', {})]
