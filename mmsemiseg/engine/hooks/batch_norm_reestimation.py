"""Statistics of BatchNorm from many fresh batches, after training."""

import copy
from collections.abc import Iterator
from contextlib import closing
from itertools import islice

import torch
from mmengine.dist import all_reduce_params, get_rank, get_world_size
from mmengine.hooks import Hook
from mmseg.registry import HOOKS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...utils.model import unwrap
from ...utils.random_state import kept_random_state, seed_generators
from ...utils.settings import check_integers
from .best_weights import hook_that_saves_best, take_best

FILE = 'bn_reestimated.pth'


@HOOKS.register_module()
class BatchNormReestimationHook(Hook):
    """Estimate the running statistics of BatchNorm anew after training.

    The statistics of training lag behind the weights and rest on the last few batches.
    At the end of the run this hook passes ``batches`` fresh batches of a stream through
    the networks in train mode, and sets the statistics to their means over all of
    these. Layers that training keeps in eval mode, or that a prediction does not use
    (auxiliary heads), are left alone. Add it to ``custom_hooks``.

    The networks are validated before and after; both scores are logged, the new ones as
    ``bn_reestimated/<metric>``. The model with the new statistics is saved as
    ``bn_reestimated.pth`` in the work folder. All other checkpoints of the run, the
    best one too, keep the statistics of training, and ``--resume`` never takes this
    file.

    The batches depend on the seed alone, so a finished run that is resumed writes the
    same file again. Several processes share the batches and average their results.

    Args:
        batches: Number of batches, at least 1, of the stream's own batch size, for all
            processes together (rounded up to a multiple of their number).
        stream: Stream whose images are used. If it has several views, ``weak`` is
            taken, or else the first.
        networks: Networks whose statistics are estimated, names in ``model.networks``.
        momentum: Share of each new batch in the running means, in (0, 1], which then
            go on from the statistics of training. None: plain means over the batches.
        best: Metric named by ``default_hooks.checkpoint.save_best``: the weights of the
            best checkpoint by it are loaded first. None: the last weights are used.
    """

    priority = 'NORMAL'  # before the log is copied
    why_once = 'the second would undo what the first has done'

    def __init__(
        self,
        batches: int = 1000,
        stream: str = 'unlabeled',
        networks: tuple[str, ...] = ('student',),
        momentum: float | None = None,
        best: str | None = None,
    ) -> None:
        check_integers(1, batches=batches)
        if isinstance(networks, str) or not networks:
            raise ValueError(
                f'networks must be a tuple of at least one name, but got {networks!r}'
            )
        if momentum is not None and not 0 < momentum <= 1:
            raise ValueError(f'momentum must be in (0, 1] or None, but got {momentum}')
        self.momentum = momentum
        self.best = best
        self.batches = batches
        self.stream = stream
        self.networks = tuple(networks)
        self._scores: tuple[int, dict] = (-1, {})
        self._saves_best = None

    def before_train(self, runner) -> None:
        streams = list(getattr(runner.train_loop, 'streams', ()))
        if self.stream not in streams:
            raise ValueError(
                f'stream of BatchNormReestimationHook must be in {streams}, '
                f'but got {self.stream!r}'
            )
        if self.best is not None:
            self._saves_best = hook_that_saves_best(
                runner, self.best, 'BatchNormReestimationHook'
            )
        model = unwrap(runner.model)
        known = getattr(model, 'networks', {})
        for name in self.networks:
            if name not in known:
                raise ValueError(
                    f'networks of BatchNormReestimationHook must be in {list(known)} '
                    f'of {type(model).__name__}, but got {self.networks}'
                )
            if not any(isinstance(m, _BatchNorm) for m in known[name].modules()):
                raise ValueError(
                    'BatchNormReestimationHook needs layers of BatchNorm, '
                    f'but {name} of {type(model).__name__} has none'
                )

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        self._scores = runner.iter, dict(metrics or {})

    def after_train(self, runner) -> None:
        iteration, before = self._scores
        reloaded = self.best is not None and take_best(
            runner, self._saves_best, self.best
        )
        if reloaded or iteration != runner.iter:  # resumed at its end
            before = _validate(runner)
        named = ', '.join(self.networks)
        runner.logger.info(
            f'statistics of BatchNorm of {named} are estimated anew on '
            f"{self.batches} batches of the stream '{self.stream}'"
        )
        self.reestimate(runner)
        after = _validate(runner)
        self._log(runner, before, after)
        runner.save_checkpoint(
            runner.work_dir,
            FILE,
            save_optimizer=False,
            save_param_scheduler=False,
            meta=dict(epoch=runner.epoch, iter=runner.iter),
            by_epoch=False,
        )

    @torch.no_grad()
    def reestimate(self, runner) -> None:
        """Replace the statistics now. All processes call it."""
        model = unwrap(runner.model)
        networks = [model.networks[name] for name in self.networks]
        modes = {m: m.training for network in networks for m in network.modules()}
        for network in networks:
            network.train()
        norms = _reset(networks, self.momentum)
        with kept_random_state(), closing(self._data(runner)) as data:
            seed_generators((runner.seed + get_rank()) % 2**32)  # dropout
            for batch in data:
                metas = [sample.metainfo for sample in batch.data_samples]
                for network in networks:
                    network.encode_decode(batch.inputs, metas)
        _finish(norms)
        for module, mode in modes.items():
            module.training = mode

    def _data(self, runner) -> Iterator:
        """The batches of this process, in an order of their own."""
        model, loader = unwrap(runner.model), runner.train_loop.streams[self.stream]
        count = -(-self.batches // get_world_size())
        training = dict(vars(loader.sampler))
        order = dict(stream=f'{self.stream}/statistics', seed=runner.seed, start=0)
        vars(loader.sampler).update(order)
        try:
            for data in islice(loader, count):
                batch = model.data_preprocessor({self.stream: data}, True)
                yield _first_view(batch['inputs'][self.stream])
        finally:
            vars(loader.sampler).update(training)

    def _log(self, runner, before: dict, after: dict) -> None:
        scalars = {f'bn_reestimated/{key}': float(after[key]) for key in after}
        for key, value in scalars.items():
            runner.message_hub.update_scalar(key, value)
        runner.visualizer.add_scalars(scalars, step=runner.iter)
        changes = ', '.join(
            f'{key} {float(before[key]):.2f} -> {float(after[key]):.2f}'
            for key in after
            if key in before and '.' not in key  # those of single classes
        )
        runner.logger.info(f'with the new statistics of BatchNorm: {changes}')


def _first_view(batch):
    """A ``Batch``, of one view where there are several."""
    if not isinstance(batch, dict):
        return batch
    return batch['weak'] if 'weak' in batch else next(iter(batch.values()))


def _reset(networks: list[nn.Module], momentum: float | None) -> dict[nn.Module, dict]:
    """Let layers in train mode average from now on; each with its former state."""
    norms = {}
    for network in networks:
        for module in network.modules():
            if isinstance(module, _BatchNorm) and module.training:
                if module.running_mean is None:
                    continue
                state = copy.deepcopy(module.state_dict())
                norms[module] = dict(state=state, momentum=module.momentum)
                if momentum is None:
                    module.reset_running_stats()
                module.num_batches_tracked.zero_()
                module.momentum = momentum  # None: the mean of all batches
    return norms


def _finish(norms: dict[nn.Module, dict]) -> None:
    """Average over the processes; layers that were not used get their state back."""
    found = []
    for norm, former in norms.items():
        norm.momentum = former['momentum']
        if norm.num_batches_tracked == 0:
            norm.load_state_dict(former['state'])
        else:
            found += [norm.running_mean, norm.running_var]
    if get_world_size() > 1:
        all_reduce_params(found, op='mean')


def _validate(runner) -> dict:
    """Metrics, without other hooks: these scores belong to no checkpoint of the run."""
    if runner.val_loop is None:
        return {}
    hooks, runner._hooks = runner._hooks, []
    try:
        return runner.val_loop.run()
    finally:
        runner._hooks = hooks
