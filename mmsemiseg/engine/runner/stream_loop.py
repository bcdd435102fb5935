"""The training loop over named streams."""

import copy
from collections.abc import Generator
from contextlib import closing
from itertools import islice

import torch
from mmengine.dist import get_world_size
from mmengine.runner import IterBasedTrainLoop
from mmseg.registry import LOOPS
from torch import nn
from torch.utils.data import DataLoader

from ...datasets.checks import leaf_datasets
from ...datasets.stream_dataset import StreamDataset
from ...utils.model import unwrap
from ...utils.profiling import stage
from ...utils.random_state import random_state, set_random_state
from .data_checks import check_training
from .hook_checks import check_needed, check_repeated
from .loop_checks import (
    LABELED,
    check_accumulation,
    check_lengths,
    check_stream_names,
)
from .metric_checks import check_monitors
from .runner import SemiRunner
from .schedules import warn_of_lengths


@LOOPS.register_module()
class SemiTrainLoop(IterBasedTrainLoop):
    """Training loop over named streams: one batch of each for an optimizer step.

    A stream is a named source of training batches. ``train_dataloader`` maps the names
    to ordinary dataloader configs of MMEngine::

        train_dataloader = dict(
            labeled=dict(batch_size=4, num_workers=2, dataset=...),
            unlabeled=dict(batch_size=8, num_workers=4, dataset=...))

    Each stream has its own batch size, workers, pipeline and order, and never ends.
    The stream ``labeled`` must be there; it is what MMEngine sees as *the* train
    dataloader. Each sample has a random seed of its own, so batches do not depend on
    ``num_workers``, and a resumed run need not load again what it has seen.

    With ``accumulation=k`` an iteration takes k batches of each stream, and the
    gradient is the mean of theirs. Everything that counts iterations (``max_iters``,
    schedules, intervals, teachers, banks) then counts optimizer steps: a run with k
    batches of b images equals, up to BatchNorm, one with a batch of k * b.

    Args:
        runner: Runner of the training.
        dataloader: Name and dataloader config of each stream, ``train_dataloader`` of
            the config.
        max_iters: Number of iterations, which are optimizer steps.
        val_begin: First iteration after which there may be a validation.
        val_interval: Iterations between two validations; there is one after the last
            iteration too.
        dynamic_intervals: Pairs of an iteration and the interval of validations from
            there on; None: ``val_interval`` throughout.
        accumulation: Number of batches of each stream in one optimizer step.
        allow_overlap: Whether an image may be in the labeled and in an unlabeled stream
            (the papers' rows with all labels); False makes it an error at the start.
        check_data: Whether files and settings are checked at the start, those of
            validation and test data too: headers of all files, and as many masks as can
            be read in some seconds. ``'full'`` decodes every file, False checks
            nothing.
        log_interval: Iterations between two log records of how often each stream's data
            was gone through.

    Attributes:
        drawn: Number of samples taken from each stream so far, by all processes.
        step_outputs: Values of ``model.step_outputs`` for each batch of the last
            iteration, for hooks.
        validated: Whether the present weights have been validated.
    """

    def __init__(
        self,
        runner,
        dataloader: dict,
        max_iters: int,
        val_begin: int = 1,
        val_interval: int = 1000,
        dynamic_intervals: list[tuple[int, int]] | None = None,
        accumulation: int = 1,
        allow_overlap: bool = False,
        check_data: bool | str = True,
        log_interval: int = 50,
    ) -> None:
        _check_scale_lr(runner)
        check_accumulation(runner, accumulation)
        check_lengths(
            max_iters,
            dynamic_intervals,
            val_interval=val_interval,
            log_interval=log_interval,
        )
        self.accumulation = accumulation
        self.streams = build_streams(runner, dataloader)
        check_repeated(runner.hooks)
        datasets = {name: loader.dataset for name, loader in self.streams.items()}
        check_training(runner, datasets, allow_overlap, check_data)
        _tell_sizes(unwrap(runner.model), self.streams)
        super().__init__(
            runner,
            self.streams[LABELED],
            max_iters,
            val_begin=val_begin,
            val_interval=val_interval,
            dynamic_intervals=dynamic_intervals,
        )
        self.dataloader_iterator = None
        self._own_seeds = {
            name
            for name, cfg in dataloader.items()
            if (cfg.get('sampler') or {}).get('seed') is not None
        }
        self.log_interval = log_interval
        self.drawn = dict.fromkeys(self.streams, 0)
        self.step_outputs: list[dict] = []
        self.validated = False
        self._random_state: dict | None = None

    def run(self):
        """Train; a resumed run starts at the samples it had not yet seen."""
        check_needed(self.runner.hooks, unwrap(self.runner.model))
        check_monitors(self.runner)
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        warn_of_lengths(self.runner)
        self._log_streams()
        self._set_accumulation()
        self._go_on()
        # Closed here, an iterator ends its workers; collected with the runner it hangs
        with closing(self.batches()) as self.dataloader_iterator:
            self._validate_if_due()  # where a resumed run was stopped before it did
            while self._iter < self._max_iters and not self.stop_training:
                self.runner.model.train()
                self._log_passes()
                self.run_iter(list(islice(self.dataloader_iterator, self.accumulation)))
                self._validate_if_due()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_iter(self, batches: list[dict]) -> None:
        """One optimizer step on the batches of an accumulation."""
        self.validated = False
        for name, count in self._samples(1).items():
            self.drawn[name] += count
        with stage('hooks'):
            self.runner.call_hook(
                'before_train_iter', batch_idx=self._iter, data_batch=batches[0]
            )
        self.step_outputs, logs = [], []
        for batch in batches:
            log = self.runner.model.train_step(
                batch, optim_wrapper=self.runner.optim_wrapper
            )
            logs.append(log)
            self.step_outputs.append(
                getattr(unwrap(self.runner.model), 'step_outputs', {})
            )
        with stage('hooks'):
            self.runner.call_hook(
                'after_train_iter',
                batch_idx=self._iter,
                data_batch=batches[-1],
                outputs=_mean_logs(logs),
            )
        self._iter += 1

    def state_dict(self) -> dict:
        """State of the run beyond what mmengine saves, in numbers and tensors."""
        return dict(
            accumulation=self.accumulation,
            channels_last=getattr(self.runner, 'channels_last', False),
            streams={
                name: dict(
                    drawn=self.drawn[name],
                    images=len(loader.dataset),
                    batch_size=loader.batch_size,
                )
                for name, loader in self.streams.items()
            },
            validated=self.validated,
            random=self._random_state or random_state(),
        )

    def load_state_dict(self, state: dict) -> None:
        """Restore what :meth:`state_dict` gave; it is used when the loop runs."""
        self.drawn = {
            name: state['streams'].get(name, {}).get('drawn', 0)
            for name in self.streams
        }
        self.validated = state['validated']
        self._random_state = state['random']

    def _go_on(self) -> None:
        """Last, before the first sample: nothing may draw random numbers after it."""
        if self._iter and not any(self.drawn.values()):  # a checkpoint without state
            self.drawn = self._samples(self._iter)
        if self._random_state is not None:
            set_random_state(self._random_state)
            self._random_state = None

    def _samples(self, iters: int) -> dict[str, int]:
        """Number of samples that ``iters`` iterations of all processes take."""
        batches = iters * self.accumulation * get_world_size()
        return {n: batches * loader.batch_size for n, loader in self.streams.items()}

    def _set_accumulation(self) -> None:
        if self.accumulation > 1:
            wrapper = self.runner.optim_wrapper
            wrapper._accumulative_counts = self.accumulation
            wrapper.initialize_count_status(
                self.runner.model,
                self._iter * self.accumulation,
                self._max_iters * self.accumulation,
            )

    def batches(self) -> Generator[dict, None, None]:
        """``{stream: batch}`` from where :attr:`drawn` stands, without end."""
        for name, loader in self.streams.items():
            loader.sampler.start = self.drawn[name] // get_world_size()
            if name not in self._own_seeds:  # a resumed run has its checkpoint's
                loader.sampler.seed = self.runner.seed
        iterators = {name: iter(loader) for name, loader in self.streams.items()}
        while True:
            yield {name: next(iterator) for name, iterator in iterators.items()}

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        if not self.validated and self.validates_after(self._iter):
            self.validated = True
            self._random_state = random_state()
            self.runner.val_loop.run()
            set_random_state(self._random_state)
            self._random_state = None

    def validates_after(self, iters: int) -> bool:
        """Whether a validation is due once ``iters`` iterations are done."""
        return (
            self.runner.val_loop is not None
            and iters >= max(self.val_begin, 1)
            and (iters % self.val_interval == 0 or iters == self._max_iters)
        )

    def passes(self, iters: int) -> dict[str, float]:
        """How often ``iters`` iterations go through the data of each stream."""
        return {
            name: count / len(self.streams[name].dataset)
            for name, count in self._samples(iters).items()
        }

    def _log_passes(self) -> None:
        """Log the passes, before the iteration whose hooks write the log."""
        iters = self._iter + 1
        if iters % self.log_interval == 0:
            for name, value in self.passes(iters).items():
                self.runner.message_hub.update_scalar(f'train/passes_{name}', value)

    def _log_streams(self) -> None:
        for name, total in self.passes(self._max_iters).items():
            loader = self.streams[name]
            self.runner.logger.info(
                f"stream '{name}': {len(loader.dataset)} images, "
                f'{self.accumulation * loader.batch_size} a step on each of '
                f'{get_world_size()} process(es), '
                f'{total:.1f} passes in {self._max_iters} iterations'
            )


def _check_scale_lr(runner) -> None:
    settings = getattr(runner, 'auto_scale_lr', None)  # FlexibleRunner has none
    scaled = (settings or {}).get('enable', False)
    if scaled and not isinstance(runner, SemiRunner):
        raise ValueError(
            'auto_scale_lr with named streams needs the runner that sums their batch '
            "sizes: set runner_type='SemiRunner'"
        )


def _tell_sizes(model: nn.Module, streams: dict[str, DataLoader]) -> None:
    """Images of a data set that is repeated count once."""
    if hasattr(model, 'set_stream_sizes'):
        images = {
            name: sum(map(len, leaf_datasets(loader.dataset)))
            for name, loader in streams.items()
        }
        sizes = {name: loader.batch_size for name, loader in streams.items()}
        model.set_stream_sizes(images, sizes)


def _mean_logs(logs: list[dict]) -> dict:
    """Mean over the batches of each value to log; a missing value counts as 0."""
    if len(logs) == 1:
        return logs[0]
    names = dict.fromkeys(name for log in logs for name in log)
    return {name: sum(log.get(name, 0) for log in logs) / len(logs) for name in names}


def build_streams(runner, dataloaders: dict) -> dict[str, DataLoader]:
    """Name -> infinite dataloader, each with its own order and seeds."""
    named = isinstance(dataloaders, dict) and LABELED in dataloaders
    if not named or 'dataset' in dataloaders:
        found = sorted(dataloaders) if isinstance(dataloaders, dict) else dataloaders
        raise ValueError(
            'train_dataloader of SemiTrainLoop must map stream names to dataloaders, '
            f"'{LABELED}' among them, but has {found}"
        )
    check_stream_names(dataloaders, unwrap(runner.model), runner.logger)
    return {name: _stream(runner, name, cfg) for name, cfg in dataloaders.items()}


def _stream(runner, name: str, cfg: dict) -> DataLoader:
    cfg = copy.deepcopy(cfg)
    for key in ('dataset', 'batch_size'):
        if key not in cfg:
            raise ValueError(f"train_dataloader['{name}'] needs the key '{key}'")
    if cfg['batch_size'] < 1:
        raise ValueError(
            f"train_dataloader['{name}'].batch_size must be >= 1, "
            f'but got {cfg["batch_size"]}'
        )
    sampler = dict(cfg.pop('sampler', None) or {})
    kind = sampler.pop('type', 'StreamSampler')
    kind = getattr(kind, '__name__', kind)
    if kind not in ('StreamSampler', 'InfiniteSampler'):
        raise ValueError(
            f"train_dataloader['{name}'].sampler must be a StreamSampler or left out, "
            f'but is {kind}: other samplers end, and cannot go on where a run was '
            'stopped'
        )
    sampler.update(type='StreamSampler', stream=name)
    cfg['dataset'] = StreamDataset(cfg['dataset'], stream=name)
    cfg.setdefault('num_workers', 0)
    cfg['persistent_workers'] = False  # a stream is iterated once: let its workers go
    # Loaders draw a seed whenever workers start: not from the generator that trains
    cfg['generator'] = torch.Generator()
    return runner.build_dataloader(dict(cfg, sampler=sampler), seed=runner.seed)
