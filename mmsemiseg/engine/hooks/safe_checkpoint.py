"""Checkpoints that a failed or interrupted save cannot take away."""

from collections import deque
from glob import escape, glob
from os import path as osp
from os import remove

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import CheckpointHook
from mmseg.registry import HOOKS

from ..runner.checkpoint import set_aside, whole_file


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """CheckpointHook that deletes a file only after its successor is on disk.

    Settings are those of :class:`mmengine.hooks.CheckpointHook`. While it saves, disk
    space for one checkpoint more than ``max_keep_ckpts`` is needed.

    A former best checkpoint is looked for, and deleted, in ``out_dir`` alone: a run
    that goes on in a copy of its folder leaves the original as it is.

    A run that starts anew in the folder of an earlier one first moves the checkpoints
    that lie there to ``before_<time>``.
    """

    def before_train(self, runner) -> None:
        self._check_save_best(runner)
        if runner.iter == 0:
            self._set_earlier_run_aside(runner)
        super().before_train(runner)
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
            parts = osp.join(escape(str(self.out_dir)), '*.pth.part')
            pointer = osp.join(escape(runner.work_dir), 'last_checkpoint.part')
            for part in glob(parts) + glob(pointer):
                remove(part)

    def _check_save_best(self, runner) -> None:
        """Metrics of an unknown network would be missed at the first validation."""
        networks = getattr(runner.val_loop, 'networks', None)
        for key in (self.save_best or ()) if networks else ():
            network, named, _ = key.partition('/')
            if key != 'auto' and not (named and network in networks):
                raise ValueError(
                    'save_best of SafeCheckpointHook must be a metric of a validated '
                    f'network, such as {networks[0]}/mIoU, of {networks}, '
                    f'but got {key!r}'
                )

    def _set_earlier_run_aside(self, runner) -> None:
        barrier()  # until all processes have loaded what may lie there
        if not is_main_process():
            return
        name = f'before_{runner.timestamp}'
        moved = set_aside(runner.work_dir, name, keep=runner._load_from)
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
        if is_main_process():
            with whole_file(osp.join(runner.work_dir, 'last_checkpoint')) as part:
                with open(part, 'w') as file:
                    file.write(path)
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
