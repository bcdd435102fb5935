"""Checkpoints that a failed or interrupted save cannot take away."""

import inspect
from collections import deque
from os import path as osp

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import CheckpointHook
from mmseg.registry import HOOKS

from ...utils.settings import check_integers, did_you_mean
from ..checkpoints.run_folder import (
    move_earlier_checkpoints,
    note_last_checkpoint,
    remove_unfinished,
)
from .save_times import check_save_settings, log_first_save, validates_after


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """CheckpointHook that deletes a file only after the next one is on disk.

    So a full disk, or a process that is killed, costs no checkpoint that exists. The
    disk needs room for one checkpoint more than ``max_keep_ckpts``.
    :class:`~mmsemiseg.engine.runner.SemiRunner` uses this hook in place of MMEngine's;
    its settings, in ``default_hooks.checkpoint``, are those of
    :class:`mmengine.hooks.CheckpointHook`, and any other is an error.

    The first checkpoint is saved after ``interval`` iterations, or before the first
    validation if that comes earlier. The last one is saved at the end, also when
    ``EarlyStoppingHook`` ends the run. With ``interval=-1`` and ``save_last=False``
    there is neither.

    When a new best checkpoint is saved the previous one is deleted, but only in the
    folder of this run: a run that was copied and is resumed in the copy does not touch
    the original.

    A new run in the folder of an earlier one first moves the checkpoints that are there
    into the sub-folder ``before_<time>``.
    """

    why_once = 'one would overwrite and delete the files of the other'

    def __init__(self, *args, **settings) -> None:
        known = list(inspect.signature(CheckpointHook.__init__).parameters)[1:-1]
        unknown = sorted(set(settings) - set(known))
        if unknown:
            raise ValueError(
                f'SafeCheckpointHook has no setting {unknown[0]!r}'
                f'{did_you_mean(unknown[0], known)}; its settings are {known}'
            )
        super().__init__(*args, **settings)
        check_integers(-1, interval=self.interval, max_keep_ckpts=self.max_keep_ckpts)
        self._training = False
        self._saved_step: int | None = None

    def before_train(self, runner) -> None:
        check_save_settings(self, runner)
        if runner.iter == 0:
            self._set_earlier_run_aside(runner)
        super().before_train(runner)
        self._training, self._saved_step = True, None
        self._set_best(
            {
                key: self.file_backend.join_path(self.out_dir, osp.basename(path))
                for key, path in self._best().items()
            }
        )
        last = runner.message_hub.get_info('last_ckpt') if runner.iter else None
        if last is not None:  # so that a new best is followed by a checkpoint
            name = osp.basename(last)
            self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        if is_main_process():
            remove_unfinished(runner.work_dir, self.out_dir)
        if self.last_ckpt is None:
            log_first_save(self, runner)

    def after_train_iter(self, runner, *args, **settings) -> None:
        super().after_train_iter(runner, *args, **settings)
        if self._wants_first() and validates_after(runner, runner.iter + 1):
            runner.logger.info(
                f'Saving a first checkpoint at {runner.iter + 1} iterations, before '
                'the validation'
            )
            self._save_checkpoint(runner)

    def after_val_epoch(self, runner, metrics) -> None:
        if self._wants_first():  # in loops that do not tell when they validate
            self._save_now(runner)
        super().after_val_epoch(runner, metrics)

    def after_train_epoch(self, runner) -> None:
        super().after_train_epoch(runner)
        if not self.by_epoch:
            self._save_if_stopped(runner)

    def after_train(self, runner) -> None:
        if self.by_epoch:
            self._save_if_stopped(runner)
        self._training = False
        super().after_train(runner)

    def _wants_first(self) -> bool:
        saves = self.interval > 0 or self.save_last
        return self._training and saves and self.last_ckpt is None

    def _save_if_stopped(self, runner) -> None:
        """After early stopping the end comes before the last iteration."""
        step = runner.epoch if self.by_epoch else runner.iter
        stopped = getattr(runner.train_loop, 'stop_training', False)
        if self.save_last and stopped and self._saved_step != step:
            runner.logger.info(f'Saving the last checkpoint: training ends at {step}')
            self._save_now(runner)

    def _save_now(self, runner) -> None:
        """Between two iterations, or epochs."""
        step = runner.epoch if self.by_epoch else runner.iter
        meta = dict(epoch=runner.epoch, iter=runner.iter)
        self._save_checkpoint_with_step(runner, step, meta)

    def _set_earlier_run_aside(self, runner) -> None:
        barrier()  # until all processes have loaded what may lie there
        if not is_main_process():
            return
        name = f'before_{runner.timestamp}'
        moved = move_earlier_checkpoints(runner.work_dir, name, keep=runner._load_from)
        if moved:
            runner.logger.info(
                f'{len(moved)} files of an earlier run were moved: {", ".join(moved)}'
            )

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        kept, outdated = self._kept_with(runner, step)
        filename = self.filename_tmpl.format(step)
        path = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info('last_ckpt', path)
        runner.save_checkpoint(
            self.out_dir,
            filename,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        self.last_ckpt, self.keep_ckpt_ids = path, kept
        self._saved_step = step
        if is_main_process():
            note_last_checkpoint(runner.work_dir, path)
            for old in outdated:
                name = self.filename_tmpl.format(old)
                self._delete(self.file_backend.join_path(self.out_dir, name))

    def _kept_with(self, runner, step: int) -> tuple[deque, list[int]]:
        """Ids of the checkpoints to keep once ``step`` is saved, and of the others."""
        if self.max_keep_ckpts <= 0:
            return deque(), []
        ids = [number for number in self.keep_ckpt_ids if number != step] + [step]
        kept, outdated = ids[-self.max_keep_ckpts :], ids[: -self.max_keep_ckpts]
        runner.message_hub.update_info('keep_ckpt_ids', kept)
        return deque(kept, self.max_keep_ckpts), outdated

    def _save_best_checkpoint(self, runner, metrics) -> None:
        former = self._best()
        self._set_best(dict.fromkeys(former))  # so that CheckpointHook deletes none
        try:
            super()._save_best_checkpoint(runner, metrics)
        except BaseException:
            self._set_best(former)
            raise
        now = self._best()
        self._set_best({**former, **now})
        if is_main_process():
            for key, path in former.items():
                if now.get(key, path) != path and self._delete(path):
                    runner.logger.info(
                        f'The previous best checkpoint {path} is removed'
                    )

    def _best(self) -> dict[str, str]:
        """Indicator -> path of its best checkpoint, for those that have one."""
        if not self.save_best:
            return {}
        if len(self.key_indicators) == 1:
            paths = {'': self.best_ckpt_path}  # the name of 'auto' comes later
        else:
            paths = self.best_ckpt_path_dict
        return {key: path for key, path in paths.items() if path}

    def _set_best(self, paths: dict) -> None:
        if not self.save_best:
            return
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = next(iter(paths.values()), None)
        else:
            self.best_ckpt_path_dict.update(paths)

    def _delete(self, path: str) -> bool:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # checkpoints of DeepSpeed are folders
            self.file_backend.rmtree(path)
        else:
            return False
        return True
