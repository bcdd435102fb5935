"""The same BatchNorm statistics in every process."""

from mmengine.dist import all_reduce_params, get_world_size
from mmengine.hooks import Hook
from mmseg.registry import HOOKS
from torch import Tensor, nn

from ...utils.model import unwrap


@HOOKS.register_module()
class BatchNormSyncHook(Hook):
    """Average the running statistics of BatchNorm over the processes.

    Each process sees other images, so its statistics drift away from the others'. This
    hook averages them after each iteration, before teachers are updated, and hence
    before validation and saving. Other buffers (counters, banks, queues) are left
    alone. Layers in eval mode and SyncBatchNorm are equal everywhere already.
    :class:`~mmsemiseg.engine.runner.SemiRunner` adds this hook; with one process it
    does nothing.
    """

    priority = 'HIGH'  # before MeanTeacherHook
    why_once = 'statistics of BatchNorm would be averaged twice a step'

    def after_train_iter(
        self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        if get_world_size() == 1:
            return
        statistics = running_statistics(unwrap(runner.model))
        if statistics:
            all_reduce_params(statistics, op='mean')


def running_statistics(model: nn.Module) -> list[Tensor]:
    """Running means and variances that differ from process to process."""
    norms = [
        module
        for module in model.modules()
        if not isinstance(module, nn.SyncBatchNorm)
        and module.training
        and getattr(module, 'running_mean', None) is not None
    ]
    return [m.running_mean for m in norms] + [m.running_var for m in norms]
