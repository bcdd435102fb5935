"""Go back to the best weights when nothing better was found for long."""

import torch
from mmengine.hooks import CheckpointHook, Hook
from mmseg.registry import HOOKS
from torch import Tensor, nn

from ...utils.model import unwrap
from ..runner.checkpoint import read_checkpoint, require_fit

STATE = 'reload_best'  # of the message hub, which checkpoints hold


@HOOKS.register_module()
class ReloadBestHook(Hook):
    """Read the weights of the best checkpoint when it is old.

    After a validation: if the best score, and the last reload, are at least
    ``patience`` iterations ago, weights go back to the checkpoint that ``save_best``
    of the checkpoint hook wrote. That is all networks, teachers included, with their
    buffers, and the parameters and BatchNorm statistics of everything else (heads).
    Optimizer, schedules and iteration go on as they are, and so do banks, windows and
    counters. There is no reload after the last iteration.

    Args:
        patience: Iterations, at least 1.
        metric: One that ``default_hooks.checkpoint.save_best`` names.
    """

    priority = 'LOW'  # a checkpoint that is saved after a validation has the state

    def __init__(self, patience: int, metric: str = 'student/mIoU') -> None:
        if patience < 1:
            raise ValueError(f'patience must be at least 1, but got {patience}')
        self.patience = patience
        self.metric = metric
        self._checkpoints: CheckpointHook | None = None

    def before_train(self, runner) -> None:
        hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
        saving = [h for h in hooks if self.metric in (h.save_best or ())]
        if not saving:
            raise ValueError(
                f'ReloadBestHook reads the best checkpoint by {self.metric!r}, but '
                'none is saved: set default_hooks.checkpoint.save_best to it'
            )
        self._checkpoints = saving[0]
        # iterations of the best score and the last reload; due: it is not done yet
        start = dict(best=runner.iter, reloaded=0, due=False)
        self._state = dict(start, **runner.message_hub.get_info(STATE, {}))
        runner.message_hub.update_info(STATE, self._state)

    def before_train_epoch(self, runner) -> None:
        self._reload_if_due(runner)  # where the run was stopped before it did

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        if self._checkpoints is None:  # no training
            return
        if self.metric not in (metrics or {}):
            raise ValueError(
                f'metric of ReloadBestHook must be in {sorted(metrics or {})}, '
                f'but got {self.metric!r}'
            )
        if self._is_better(runner, metrics[self.metric]):
            self._state['best'] = runner.iter
        age = runner.iter - max(self._state['best'], self._state['reloaded'])
        last = runner.iter >= runner.max_iters
        self._state['due'] = age >= self.patience and not last

    def after_val(self, runner) -> None:
        self._reload_if_due(runner)  # the checkpoint hook has seen the scores

    def after_train(self, runner) -> None:
        self._checkpoints = None

    def _is_better(self, runner, score: float) -> bool:
        """As the checkpoint hook will find."""
        hook = self._checkpoints
        names = hook.key_indicators
        key = 'best_score' if len(names) == 1 else f'best_score_{self.metric}'
        worst = hook.init_value_map[hook.rules[names.index(self.metric)]]
        best = runner.message_hub.get_info(key, worst)
        return hook.is_better_than[self.metric](score, best)

    def _reload_if_due(self, runner) -> None:
        if self._checkpoints is None or not self._state['due']:
            return
        path = self._best_path()
        if path is None:  # no score was a number
            return
        reload_weights(unwrap(runner.model), path)
        self._state.update(due=False, reloaded=runner.iter)
        runner.logger.info(
            f'no better {self.metric} since iteration {self._state["best"]}: at '
            f'iteration {runner.iter} the weights of {path} are taken again'
        )

    def _best_path(self) -> str | None:
        hook = self._checkpoints
        if len(hook.key_indicators) == 1:
            return hook.best_ckpt_path
        return hook.best_ckpt_path_dict.get(self.metric)


@torch.no_grad()
def reload_weights(model: nn.Module, path: str) -> None:
    """Let the weights of ``model`` be those of a checkpoint of it, and nothing else.

    Raises:
        CheckpointError: The file is damaged or of another model.
    """
    checkpoint = read_checkpoint(path)
    require_fit(model, checkpoint, path, strict=True)
    for name, tensor in weights(model).items():
        tensor.copy_(checkpoint['state_dict'][name])


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Parameters, and buffers of the networks and of BatchNorm, by name."""
    norms = [m for m in model.modules() if getattr(m, 'running_mean', None) is not None]
    parts = [*model.networks.values(), *norms]
    inside = {id(buffer) for part in parts for buffer in part.buffers()}
    state = model.state_dict(keep_vars=True)
    return {
        name: tensor
        for name, tensor in state.items()
        if isinstance(tensor, nn.Parameter) or id(tensor) in inside
    }
