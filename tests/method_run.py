"""Tiny runs of a method and what each of their iterations leaves."""

import tiny_run
from forked import on_two_ranks
from helpers import frozen_copy
from mmengine.hooks import Hook

from mmsemiseg.utils.model import unwrap


class Left(Hook):
    """What each iteration leaves, by name; stops the run after one of them."""

    priority = 'VERY_LOW'

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.left = {}

    def look(self, runner, outputs):
        """{name: what this iteration leaves}; each method has its own."""
        raise NotImplementedError

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        for name, value in self.look(runner, outputs).items():
            self.left.setdefault(name, []).append(value)
        if runner.iter + 1 == self.stop_after:
            raise KeyboardInterrupt


def remembered(runner):
    """What each batch of the iteration left for the memory."""
    step_outputs = runner.train_loop.step_outputs
    return [left['memory'] for left in step_outputs if 'memory' in left]


def trained(cfg, hook):
    """What a run leaves, with the ``state`` of its model at the end."""
    runner = tiny_run.build(cfg)
    runner.register_hook(hook)
    try:
        runner.train()
    except KeyboardInterrupt:
        assert hook.stop_after is not None
    return dict(hook.left, state=frozen_copy(unwrap(runner.model)))


def two_processes(runs, folder):
    """{run: [what it left on rank 0, on rank 1]}; ``runs(folder)`` runs them all."""
    first, second = on_two_ranks(runs, folder)
    return {name: [first[name], second[name]] for name in first}
