"""The checks that a runner makes at the start of a training, all at once."""

import copy
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmseg.registry import RUNNERS

from ..engine.hooks.save_times import check_save_settings
from ..engine.runner.hook_checks import check_needed, check_repeated
from ..engine.runner.loop_checks import check_loop_reads
from ..engine.runner.metric_checks import check_monitors
from ..engine.runner.schedules import warn_of_lengths
from ..engine.runner.type_checks import unknown_types
from ..start.probe import Warnings
from ..utils.model import unwrap
from ..utils.pretrained import check_pretrained, without_pretrained
from .findings import Finding

ABOUT = 'run'
NETWORK_PARTS = ('backbone', 'neck', 'decode_head', 'auxiliary_head')


def untyped_parts(model: Any, place: str = 'model') -> Iterator[tuple[str, dict]]:
    """(setting, config) of the parts of networks that have no type.

    >>> model = dict(student=dict(type='A', auxiliary_head=dict(num_classes=2)))
    >>> list(untyped_parts(model))
    [('model.student.auxiliary_head', {'num_classes': 2})]
    """
    for name, part in model.items():
        several = isinstance(part, (list, tuple))
        for index, one in enumerate(part if several else [part]):
            if isinstance(one, Mapping):
                inner = f'{place}.{name}[{index}]' if several else f'{place}.{name}'
                if name in NETWORK_PARTS and 'type' not in one:
                    yield inner, one
                yield from untyped_parts(one, inner)


class RunLength(NamedTuple):
    """How long a training is; ``passes`` are those over each stream."""

    iterations: int
    validations: int
    checkpoints: int
    passes: dict[str, float]


class RunLook:
    """What the parts of a run say of each other.

    Attributes:
        model: The model; None where it cannot be built.
        findings: What is wrong.
        length: Length of the training; None where its loop cannot be built.

    Args:
        cfg: Config of a run.
        folder: Folder that the runner may write to.
    """

    def __init__(self, cfg: Config, folder: str) -> None:
        self.cfg, self.folder = cfg, folder
        self.findings: list[Finding] = []
        self.length: RunLength | None = None
        self.model = None
        self.runner = None
        self.first_stage = cfg.get('runner_type') == 'SelfTrainingRunner'
        for text in unknown_types(cfg):
            self._note('error', text)
        loaders = cfg.get('train_dataloader')
        self._try(lambda: check_loop_reads(cfg.get('train_cfg'), loaders))
        self._try(lambda: check_pretrained(cfg.get('model') or {}))
        for place, part in untyped_parts(cfg.get('model') or {}):
            self._note(
                'error',
                f'{place} has no type, only the settings {sorted(part)}: set its type, '
                'or leave it out where no base config has one',
            )
        load_from = cfg.get('load_from')
        if load_from and '://' not in load_from and not os.path.isfile(load_from):
            self._note('error', f'load_from: there is no file {load_from}')
        self._build()

    def check(self, trains: bool, validates: bool) -> None:
        """Check the parts that can be built.

        Args:
            trains: Whether the training data can be built.
            validates: Whether the validation data can be built.
        """
        runner = self.runner
        if runner is None:
            return
        self._try(lambda: check_repeated(runner.hooks))
        self._try(lambda: check_needed(runner.hooks, unwrap(runner.model)))
        if validates and self._try(lambda: runner.val_loop):
            self._try(lambda: check_monitors(runner))
            for hook in runner.hooks:
                if isinstance(hook, CheckpointHook):
                    self._try(lambda hook=hook: check_save_settings(hook, runner))
        if trains and self._try(self._require_loop):
            self._try(self._build_optimizer)
            if hasattr(runner.train_loop, 'streams'):
                self._try(lambda: warn_of_lengths(runner))
            self._try(self._measure_length)

    def _note(self, level: str, text: str) -> None:
        self.findings.append(Finding(level, ABOUT, text))

    def _try(self, check: Callable[[], Any]) -> bool:
        """Whether a check passes; its error is a finding."""
        try:
            check()
        except Exception as error:  # an extension of the user's may raise anything
            known = isinstance(error, (ValueError, FileNotFoundError))
            keyed = isinstance(error, KeyError) and error.args
            text = str(error.args[0] if keyed else error).strip() or 'no message'
            self._note('error', text if known else f'{type(error).__name__}: {text}')
            return False
        return True

    def _build(self) -> None:
        """A runner that writes into the folder alone, and loads no weights."""
        cfg = copy.deepcopy(self.cfg)
        cfg.work_dir = self.folder
        cfg.experiment_name = f'doctor_{os.path.basename(self.folder)}'
        cfg.log_level = 'ERROR'
        cfg.resume, cfg.load_from = False, None
        cfg.vis_backends = []
        if cfg.get('visualizer'):
            cfg.visualizer.update(name=cfg.experiment_name, vis_backends=[])
        if cfg.get('model'):
            cfg.model = without_pretrained(cfg.model)
        if cfg.get('train_cfg'):
            kind = cfg.train_cfg.get('type')
            if kind == 'SemiTrainLoop':
                cfg.train_cfg.check_data = False  # the data are looked at apart
        if self.first_stage:
            cfg.runner_type = 'SemiRunner'
            cfg.pop('self_training', None)
        if cfg.get('runner_type') is None:
            cfg.runner_type = 'QuietRunner'
        self._warnings = Warnings()
        if not self._try(lambda: setattr(self, 'runner', RUNNERS.build(cfg))):
            return
        self.model = unwrap(self.runner.model)
        self.runner.logger.addHandler(self._warnings)

    def _require_loop(self) -> None:
        if self.runner.train_loop is None:
            raise ValueError(
                'nothing is trained: set train_dataloader, train_cfg and optim_wrapper'
            )

    def _build_optimizer(self) -> None:
        runner = self.runner
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        if runner.param_schedulers is not None:
            schedulers = runner.build_param_scheduler(runner.param_schedulers)
            runner.param_schedulers = schedulers

    def _measure_length(self) -> None:
        runner, loop = self.runner, self.runner.train_loop
        iterations = runner.max_iters
        if hasattr(loop, 'validates_after'):
            steps = range(1, iterations + 1)
            validations = sum(loop.validates_after(step) for step in steps)
        elif runner.val_loop is None:
            validations = 0
        elif hasattr(loop, 'max_iters') and loop.max_epochs == 1:
            validations = math.ceil(iterations / loop.val_interval)
        else:
            validations = math.ceil(runner.max_epochs / loop.val_interval)
        checkpoints = 0
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook):
                total = runner.max_epochs if hook.by_epoch else iterations
                if hook.interval > 0:
                    checkpoints += math.ceil(total / hook.interval)
        passes = {}
        if hasattr(loop, 'passes'):
            passes = loop.passes(iterations)
        self.length = RunLength(iterations, validations, checkpoints, passes)

    def close(self) -> None:
        """Collect the warnings, and let the files of the runner go."""
        if self.runner is None:
            return
        for text in self._warnings.texts:
            self._note('warning', text.removeprefix('NOTE: '))
        for handler in list(self.runner.logger.handlers):
            if isinstance(handler, logging.FileHandler):
                handler.close()
