"""mmengine's Runner for runs with named streams."""

import os
from collections.abc import Mapping
from contextlib import nullcontext

import numpy as np
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, is_distributed, is_main_process
from mmengine.hooks import SyncBuffersHook
from mmengine.model import is_model_wrapper, revert_sync_batchnorm
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import RUNNERS
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn

from ...utils.layout import lay_out, lay_out_moments
from ...utils.memory import keep_freed_memory
from ...utils.model import unwrap
from ...utils.random_state import seed_generators
from ...utils.tool_settings import complete_config
from ..checkpoints import (
    CheckpointError,
    atomic_write,
    check_resumable,
    find_resumable,
    is_local,
    read_checkpoint,
    require_fit,
    restore_history,
)
from ..checkpoints.run_state import restore, run_state
from ..hooks.memory import MemoryHook
from ..hooks.saved_content import SavedContentHook
from ..student_constructor import by_student
from .data_checks import check_testing
from .fitted_schedules import fitted_schedules
from .hook_checks import check_repeated
from .inherited import check_inherited
from .loop_checks import check_loop_reads
from .param_groups import describe_groups, merge_equal_groups
from .processes import ddp_settings, init_processes
from .quiet_runner import QuietRunner
from .run_lock import is_in_use, locked
from .schedules import with_ends
from .type_checks import check_types


@RUNNERS.register_module()
class SemiRunner(QuietRunner):
    """mmengine's Runner for semi-supervised methods, with exact resume.

    - A run that was stopped, also by a signal, and is resumed gives the same weights on
      a CPU as one that was not, bit by bit. What would make them differ (another number
      of processes or threads, device, batch size, data) is an error;
      ``exact_resume=False`` in the config turns it into a warning.
    - ``resume='auto'`` continues from the newest good checkpoint in ``work_dir``. If
      there is none, a new run starts, with the weights of ``load_from`` if given.
    - While a run trains, a second one in the same ``work_dir`` is refused.
    - A checkpoint is on disk whole or not at all, and loads without running code from
      the file. Weights, statistics, banks and optimizer moments that are not finite
      are not saved: the run ends with an error that names a checkpoint to go on from.
    - ``env_cfg.keep_freed_memory=True``: on a CPU the C library keeps freed memory for
      the next step, which saves time (docs/benchmarks.md). It acts on the whole process
      until this ends.
    - ``channels_last=True`` in the config stores images, weights and optimizer moments
      with the channels last (PyTorch's ``torch.channels_last``), in students and
      teachers. A seed gives the same first weights, and values are equal up to
      rounding; most steps take less time (docs/benchmarks.md).
    - On a machine without GPU, processes of a launcher communicate by gloo.
    - ``sync_bn='torch'`` makes BatchNorm synchronous on GPUs. On CPUs PyTorch has no
      such layer: running statistics are averaged after each step, as they are without
      the setting.
    - It adds the hooks ``AdviceHook``, ``BatchNormSyncHook``, ``SafeCheckpointHook``
      and ``PredictionFilesHook``, and a ``MemoryHook`` where the model has a memory.
      One in the config, with settings of its own, takes the place of each.
    - MMSegmentation's layer-wise decay of the learning rate acts on each student.
    - ``auto_scale_lr`` scales by the images of one optimizer step: those of all
      streams, processes and batches of an accumulation together.
    """

    @classmethod
    def from_cfg(cls, cfg) -> 'SemiRunner':
        check_types(cfg)
        return super().from_cfg(cfg)

    # Processes

    def setup_env(self, env_cfg: dict) -> None:
        keep = env_cfg.get('keep_freed_memory', False)
        if not isinstance(keep, bool):
            raise ValueError(
                f'env_cfg.keep_freed_memory must be True or False, but got {keep!r}'
            )
        if keep and get_device() == 'cpu':
            keep_freed_memory()
        if self.distributed and not is_distributed() and get_device() == 'cpu':
            init_processes(self.launcher, env_cfg.get('dist_cfg') or {})
        super().setup_env(env_cfg)

    def set_randomness(
        self, seed, diff_rank_seed: bool = False, deterministic: bool = False
    ) -> None:
        """Seed the run: one order of the data, other random numbers on each process."""
        super().set_randomness(seed, False, deterministic)
        if self.rank > 0:
            mixed = np.random.SeedSequence((self.seed, self.rank)).generate_state(1)
            seed_generators(int(mixed[0]))

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module):
        if self.channels_last:
            lay_out(unwrap(model))  # before DDP, which keeps the layout of gradients
            preprocessor = getattr(unwrap(model), 'data_preprocessor', None)
            if hasattr(preprocessor, 'channels_last'):
                preprocessor.channels_last = True
        if not self.distributed or is_model_wrapper(model):
            return super().wrap_model(model_wrapper_cfg, model)
        if get_device() == 'cpu':
            self.cfg.pop('sync_bn', None)
            model = revert_sync_batchnorm(model)
        find_unused = self.cfg.get('find_unused_parameters')
        settings = ddp_settings(model_wrapper_cfg, model, find_unused)
        return super().wrap_model(settings, model)

    def register_hooks(self, default_hooks=None, custom_hooks=None) -> None:
        defaults = dict(
            advice=dict(type='AdviceHook'),
            batch_norm=dict(type='BatchNormSyncHook'),
            checkpoint=dict(type='SafeCheckpointHook', by_epoch=False),
            predictions=dict(type='PredictionFilesHook'),
        )
        own = set(defaults)
        for name, given in (default_hooks or {}).items():
            added = name in own and isinstance(given, Mapping) and 'type' not in given
            defaults[name] = dict(defaults[name], **given) if added else given
        for name in own - {'checkpoint'}:  # which mmengine has, too
            if defaults[name] is None:
                del defaults[name]
        checkpoint = defaults['checkpoint']
        if isinstance(checkpoint, dict) and checkpoint.get('type') == 'CheckpointHook':
            defaults['checkpoint'] = dict(checkpoint, type='SafeCheckpointHook')
        super().register_hooks(defaults, custom_hooks)
        self.register_hook(SavedContentHook())
        has_memory = getattr(unwrap(self.model), 'has_memory', False)
        if has_memory and not any(isinstance(h, MemoryHook) for h in self.hooks):
            self.register_hook(MemoryHook())
        if self.distributed and any(isinstance(h, SyncBuffersHook) for h in self.hooks):
            raise ValueError(
                'SyncBuffersHook averages every buffer over the processes, counters '
                'and memory banks too: remove it, SemiRunner averages the statistics '
                'of BatchNorm'
            )

    def dump_config(self) -> None:
        """Write the config, with what ``inference_model`` and ``--tta`` look for.

        While another process trains in this folder its config is left as it is.
        """
        complete_config(self.cfg)
        if not is_in_use(self.work_dir):
            super().dump_config()

    @property
    def channels_last(self) -> bool:
        value = self.cfg.get('channels_last', False)
        if not isinstance(value, bool):
            raise ValueError(f'channels_last must be True or False, but got {value!r}')
        return value

    # Training

    def train(self) -> nn.Module:
        """Train, if no other run writes into ``work_dir``.

        Raises:
            FolderInUseError: Another one does.
        """
        with locked(self.work_dir):
            return super().train()

    def _init_model_weights(self) -> None:
        """Initialise the weights; a seed gives the same ones with channels last."""
        model = unwrap(self.model)
        if self.channels_last:
            lay_out(model, channels_last=False)
        super()._init_model_weights()
        if self.channels_last:
            lay_out(model)

    def build_optim_wrapper(self, optim_wrapper):
        wrapper = super().build_optim_wrapper(
            by_student(optim_wrapper, unwrap(self.model))
        )
        if isinstance(wrapper, OptimWrapper) and not wrapper.optimizer.state:
            merge_equal_groups(wrapper.optimizer)
            if len(wrapper.optimizer.param_groups) > 1:
                self.logger.info(describe_groups(wrapper.optimizer))
        return wrapper

    def build_train_loop(self, loop):
        check_inherited(loop)
        check_repeated(self.hooks)
        check_loop_reads(loop, self._train_dataloader)
        loop = super().build_train_loop(loop)
        check = getattr(unwrap(self.model), 'check_batch_sizes', None)
        if check is not None and hasattr(loop, 'streams'):
            check({name: part.batch_size for name, part in loop.streams.items()})
        return loop

    @staticmethod
    def build_dataloader(dataloader, *args, **settings):
        """Build a dataloader; without workers none is asked to persist."""
        if isinstance(dataloader, dict) and not dataloader.get('num_workers'):
            dataloader = dict(dataloader, persistent_workers=False)
        return QuietRunner.build_dataloader(dataloader, *args, **settings)

    def scale_lr(self, optim_wrapper, auto_scale_lr: dict | None = None) -> None:
        loop = self.train_loop
        if not hasattr(loop, 'streams'):
            return super().scale_lr(optim_wrapper, auto_scale_lr)
        images = sum(loader.batch_size for loader in loop.streams.values())
        summed = dict(batch_size=images * loop.accumulation)
        loaders, self._train_dataloader = self._train_dataloader, summed
        try:
            super().scale_lr(optim_wrapper, auto_scale_lr)
        finally:
            self._train_dataloader = loaders

    def build_param_scheduler(self, scheduler):
        """Build schedulers; one that begins after the end of the run does nothing."""
        return super().build_param_scheduler(with_ends(scheduler, self.max_iters))

    def test(self) -> dict:
        """Test, after a check of the test data and of the settings that read them."""
        if self._test_loop is not None:
            check_testing(self)
        return super().test()

    # Checkpoints

    def save_checkpoint(
        self, out_dir: str, filename: str, *args, meta: dict | None = None, **settings
    ) -> None:
        """Save a checkpoint with the state of the run. All processes call it.

        Raises:
            FloatingPointError: Something in it is not finite; no file is written.
        """
        meta = dict(meta or {})
        if hasattr(self.train_loop, 'streams'):
            meta['run_state'] = run_state(self.train_loop)
        path = os.path.join(out_dir, filename)
        writes = is_main_process() and is_local(path)
        with atomic_write(path) if writes else nullcontext(path) as part:
            filename = os.path.basename(part)
            super().save_checkpoint(out_dir, filename, *args, meta=meta, **settings)

    def load_checkpoint(
        self,
        filename: str,
        map_location='cpu',
        strict: bool = False,
        revise_keys: list = [(r'^module\.', '')],  # noqa: B006, as in mmengine
    ) -> dict:
        """Load weights, which must fit; no code in the file runs.

        Raises:
            CheckpointError: The file is damaged, holds code, or none of its tensors
                fits the model; with ``strict``, if any tensor is missing or left over.
        """
        if not is_local(filename):
            return super().load_checkpoint(filename, map_location, strict, revise_keys)
        checkpoint = read_checkpoint(filename, map_location)
        if 'message_hub' in checkpoint:
            checkpoint['message_hub'] = restore_history(checkpoint['message_hub'])
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        model = unwrap(self.model)
        require_fit(model, checkpoint, filename, strict)
        _load_checkpoint_to_model(model, checkpoint, strict, revise_keys=revise_keys)
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint

    def load_or_resume(self) -> None:
        if self._has_loaded or not self._resume:
            return super().load_or_resume()
        if self._load_from is not None and self._resume != 'auto':
            return self.resume(self._load_from)
        found = [find_resumable(self.work_dir) if is_main_process() else None]
        broadcast_object_list(found)
        path, refused = found[0]
        for error in refused:
            self.logger.warning(f'not resumed: {error}')
        if path is not None:
            self.resume(path)
        elif refused:
            raise CheckpointError(
                f'{self.work_dir} holds checkpoints, but none that can be resumed:\n'
                + '\n'.join(str(error) for error in refused)
            )
        elif self._load_from is not None:
            self.load_checkpoint(self._load_from)
        else:
            self.logger.info(f'{self.work_dir} has no checkpoint yet: a new run starts')
        self._has_loaded = True

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location='cpu',
    ) -> None:
        """Continue from a checkpoint of this run.

        Raises:
            CheckpointError: See :meth:`load_checkpoint`; the model must fit entirely.
            ResumeError: The surroundings or settings are not those of the checkpoint.
        """
        self.logger.info(f'resuming from {filename}')
        resumed = {}
        exact = self.cfg.get('exact_resume', True)
        load = self.load_checkpoint

        def load_all(filename: str, map_location='cpu') -> dict:
            resumed.update(load(filename, map_location, strict=exact))
            check_resumable(resumed, filename)
            return resumed

        self.load_checkpoint = load_all  # which mmengine's resume() calls
        try:
            with fitted_schedules(self):
                super().resume(
                    filename, resume_optimizer, resume_param_scheduler, map_location
                )
        finally:
            del self.load_checkpoint
        if resume_optimizer:
            self._lay_out_moments()
        if hasattr(self.train_loop, 'streams'):
            self._restore(resumed['meta'].get('run_state'), filename)

    def _lay_out_moments(self) -> None:
        wrapper = self.optim_wrapper
        if isinstance(wrapper, OptimWrapperDict):
            parts = wrapper.values()
        else:
            parts = [wrapper]
        for part in parts:
            lay_out_moments(part.optimizer)

    def _restore(self, state: dict | None, filename: str) -> None:
        exact = self.cfg.get('exact_resume', True)
        if state is None and exact:
            raise CheckpointError(
                f'{filename} was not saved by SemiRunner: it has no state of random '
                'generators and streams. With exact_resume=False the run goes on '
                'without that state'
            )
        differences = ['the checkpoint has no state of the run']
        if state is not None:
            differences = restore(self.train_loop, state, exact)
        if differences:
            self.logger.warning(
                'the resumed run will not equal the uninterrupted one bit by bit: '
                + '; '.join(differences)
            )
