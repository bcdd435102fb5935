"""The training loop over named streams."""

import copy
from collections.abc import Generator
from contextlib import closing

import torch
from mmengine.dist import get_world_size
from mmengine.runner import IterBasedTrainLoop
from mmseg.registry import LOOPS
from torch.utils.data import DataLoader

from ...datasets.checks import check_streams
from ...datasets.stream_dataset import StreamDataset
from ...utils.model import unwrap
from ..hooks.mean_teacher import MeanTeacherHook
from .runner import SemiRunner

LABELED = 'labeled'


@LOOPS.register_module()
class SemiTrainLoop(IterBasedTrainLoop):
    """Draws one batch of each named stream per iteration.

    ``train_dataloader`` maps stream names to ordinary mmengine dataloader configs::

        train_dataloader = dict(
            labeled=dict(batch_size=4, num_workers=2, dataset=...),
            unlabeled=dict(batch_size=8, num_workers=4, dataset=...))

    Each stream has its own batch size, workers, pipeline and order, and never ends.
    The stream ``labeled`` must be there and answers where mmengine asks for *the*
    train dataloader. Samples are seeded one by one, so batches do not depend on
    ``num_workers``, and resuming needs no replay.

    Args:
        allow_overlap: Permit images in the labeled and an unlabeled stream at once
            (the papers' "full" rows); otherwise it is an error at the start.
        check_data: Read the header of each file at the start and report missing,
            unreadable, duplicate and mismatched ones.
        log_interval: Iterations between records of the passes over each stream.
    """

    def __init__(
        self,
        runner,
        dataloader: dict,
        max_iters: int,
        val_begin: int = 1,
        val_interval: int = 1000,
        dynamic_intervals: list[tuple[int, int]] | None = None,
        allow_overlap: bool = False,
        check_data: bool = True,
        log_interval: int = 50,
    ) -> None:
        _check_scale_lr(runner)
        self.streams = build_streams(runner, dataloader)
        if check_data:
            check_streams(
                {name: loader.dataset for name, loader in self.streams.items()},
                allow_overlap=allow_overlap,
                logger=runner.logger,
            )
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

    def run(self):
        """Train; a resumed run starts at the samples it had not yet seen."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        self._check_teacher_moves()
        self._log_streams()
        # Closed here, an iterator ends its workers; collected with the runner it hangs
        with closing(self.batches(self._iter)) as self.dataloader_iterator:
            while self._iter < self._max_iters and not self.stop_training:
                self.runner.model.train()
                batches = next(self.dataloader_iterator)
                self._log_passes()
                self.run_iter(batches)
                self._decide_current_val_interval()
                if self._is_validation_due():
                    self.runner.val_loop.run()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def batches(self, start: int = 0) -> Generator[dict, None, None]:
        """``{stream: batch}`` from iteration ``start`` on, without end."""
        for name, loader in self.streams.items():
            loader.sampler.start = start * loader.batch_size
            if name not in self._own_seeds:  # a resumed run has its checkpoint's
                loader.sampler.seed = self.runner.seed
        iterators = {name: iter(loader) for name, loader in self.streams.items()}
        while True:
            yield {name: next(iterator) for name, iterator in iterators.items()}

    def _is_validation_due(self) -> bool:
        return (
            self.runner.val_loop is not None
            and self._iter >= self.val_begin
            and (self._iter % self.val_interval == 0 or self._iter == self._max_iters)
        )

    def passes(self, iters: int) -> dict[str, float]:
        """How often ``iters`` iterations of all ranks go through each stream's data."""
        drawn = iters * get_world_size()
        return {
            name: drawn * loader.batch_size / len(loader.dataset)
            for name, loader in self.streams.items()
        }

    def _log_passes(self) -> None:
        """Before the iteration, whose hooks write the log."""
        iters = self._iter + 1
        if iters % self.log_interval == 0:
            for name, value in self.passes(iters).items():
                self.runner.message_hub.update_scalar(f'train/passes_{name}', value)

    def _log_streams(self) -> None:
        for name, total in self.passes(self._max_iters).items():
            loader = self.streams[name]
            self.runner.logger.info(
                f"stream '{name}': {len(loader.dataset)} images, {loader.batch_size} "
                f'a step on each of {get_world_size()} process(es), '
                f'{total:.1f} passes in {self._max_iters} iterations'
            )

    def _check_teacher_moves(self) -> None:
        model = unwrap(self.runner.model)
        has_teacher = any(p.teacher is not None for p in getattr(model, 'pairs', ()))
        moved = any(isinstance(hook, MeanTeacherHook) for hook in self.runner.hooks)
        if has_teacher and not moved:
            raise ValueError(
                f'{type(model).__name__} has a teacher, but no hook moves it: add '
                "dict(type='MeanTeacherHook', decay=0.99) to custom_hooks"
            )


def _check_scale_lr(runner) -> None:
    scaled = (runner.auto_scale_lr or {}).get('enable', False)
    if scaled and not isinstance(runner, SemiRunner):
        raise ValueError(
            'auto_scale_lr with named streams needs the runner that sums their batch '
            "sizes: set runner_type='SemiRunner'"
        )


def build_streams(runner, dataloaders: dict) -> dict[str, DataLoader]:
    """Name -> infinite dataloader, each with its own order and seeds."""
    named = isinstance(dataloaders, dict) and LABELED in dataloaders
    if not named or 'dataset' in dataloaders:
        found = sorted(dataloaders) if isinstance(dataloaders, dict) else dataloaders
        raise ValueError(
            'train_dataloader of SemiTrainLoop must map stream names to dataloaders, '
            f"'{LABELED}' among them, but has {found}"
        )
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
            f'but is {kind}: other samplers end, and cannot be resumed without replay'
        )
    sampler.update(type='StreamSampler', stream=name)
    cfg['dataset'] = StreamDataset(cfg['dataset'], stream=name)
    cfg.setdefault('num_workers', 0)
    cfg['persistent_workers'] = False  # a stream is iterated once: let its workers go
    # Loaders draw a seed whenever workers start: not from the generator that trains
    cfg['generator'] = torch.Generator()
    return runner.build_dataloader(dict(cfg, sampler=sampler), seed=runner.seed)
