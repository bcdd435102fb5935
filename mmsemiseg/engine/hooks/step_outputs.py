"""Tensors that a step leaves for hooks."""

from ...utils.model import unwrap


def step_outputs(runner) -> list[dict]:
    """``model.step_outputs`` of each batch of the last optimizer step, in order."""
    if hasattr(runner.train_loop, 'step_outputs'):
        return runner.train_loop.step_outputs
    return [getattr(unwrap(runner.model), 'step_outputs', {})]
