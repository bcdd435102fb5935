"""The best checkpoint of a run so far, and its weights."""

import torch
from mmengine.hooks import CheckpointHook
from torch import Tensor, nn

from ...utils.model import unwrap
from ..checkpoints import read_checkpoint, require_fit


def hook_that_saves_best(runner, metric: str, asker: str) -> CheckpointHook:
    """The checkpoint hook whose ``save_best`` names the metric.

    Raises:
        ValueError: There is none; the message begins with ``asker``.
    """
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and metric in (hook.save_best or ()):
            return hook
    raise ValueError(
        f'{asker} reads the best checkpoint by {metric!r}, but none is saved: set '
        'default_hooks.checkpoint.save_best to it'
    )


def best_path(hook: CheckpointHook, metric: str) -> str | None:
    """The best checkpoint that the hook has saved; None: no score was a number yet."""
    if len(hook.key_indicators) == 1:
        return hook.best_ckpt_path
    return hook.best_ckpt_path_dict.get(metric)


def take_best(runner, hook: CheckpointHook, metric: str) -> bool:
    """Whether the weights are now those of the best checkpoint by the metric."""
    path = best_path(hook, metric)
    if path is None:
        runner.logger.warning(
            f'no {metric} of this run was a number, so there is no best checkpoint: '
            'the last weights are used'
        )
        return False
    reload_weights(unwrap(runner.model), path)
    runner.logger.info(f'the weights of {path}, the best by {metric}, are taken')
    return True


@torch.no_grad()
def reload_weights(model: nn.Module, path: str) -> None:
    """Load the weights of a checkpoint into ``model``, but not its banks and counters.

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
