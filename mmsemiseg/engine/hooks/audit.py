"""Audit of the pseudo labels during training, against truth kept out of it."""

import copy

import torch
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from ...utils.model import unwrap
from ...utils.random_state import kept_random_state
from ...utils.settings import check_integers


@HOOKS.register_module()
class PseudoLabelAuditHook(Hook):
    """Measure the pseudo labels of a network during training, on images with masks.

    Add it to ``custom_hooks`` where true masks of unlabeled images exist, say in a
    study that hides them. They are in a data set of their own that no loss sees. An
    audit does not change training: it has no gradient, runs in eval mode and restores
    the random generators. The metrics are logged as ``audit/<metric>``.

    Args:
        dataloader: Config of the dataloader of images with masks, in the form of
            ``val_dataloader``.
        evaluator: Config of the metrics, e.g.
            ``dict(type='PseudoLabelAudit', thresholds=(0.9, 0.95))``.
        interval: Iterations between two audits; there is one after the last iteration
            too.
        network: Network whose pseudo labels are measured: a name in ``model.networks``,
            or ``'mean'``.
    """

    priority = 'LOW'  # after the teacher has moved, before a checkpoint is saved

    def __init__(
        self,
        dataloader: dict,
        evaluator: dict | list,
        interval: int = 1000,
        network: str = 'teacher',
    ) -> None:
        check_integers(1, interval=interval)
        self.dataloader_cfg = dataloader
        self.evaluator_cfg = evaluator
        self.interval = interval
        self.network = network

    def before_train(self, runner) -> None:
        model = unwrap(runner.model)
        known = [*getattr(model, 'networks', ()), 'mean']
        if self.network not in known:
            raise ValueError(
                f'network of PseudoLabelAuditHook must be in {known} of '
                f'{type(model).__name__}, but got {self.network!r}'
            )
        with kept_random_state():
            self.dataloader = runner.build_dataloader(
                copy.deepcopy(self.dataloader_cfg), seed=runner.seed
            )
        self.evaluator = runner.build_evaluator(copy.deepcopy(self.evaluator_cfg))
        self.evaluator.dataset_meta = self.dataloader.dataset.metainfo

    def after_train_iter(
        self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        step = runner.iter + 1
        if step % self.interval == 0 or step == runner.max_iters:
            self.audit(runner, step)

    @torch.no_grad()
    def audit(self, runner, step: int) -> dict[str, float]:
        """Evaluate now, write the metrics for iteration ``step`` and return them."""
        model = unwrap(runner.model)
        training = model.training
        model.eval()
        with kept_random_state():
            for batch in self.dataloader:
                data = model.data_preprocessor(batch, False)
                samples = model.predict_as(
                    self.network, data['inputs'], data['data_samples']
                )
                self.evaluator.process(data_samples=samples, data_batch=batch)
        model.train(training)
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
        scalars = {f'audit/{key}': float(value) for key, value in metrics.items()}
        for key, value in scalars.items():
            runner.message_hub.update_scalar(key, value)
        runner.visualizer.add_scalars(scalars, step=step)
        values = ', '.join(f'{key} {value:.2f}' for key, value in scalars.items())
        runner.logger.info(f'audit of {self.network} at iteration {step}: {values}')
        return metrics
