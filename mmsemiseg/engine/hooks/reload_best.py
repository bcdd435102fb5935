"""Go back to the best weights after a long time without improvement."""

from mmengine.hooks import CheckpointHook, Hook
from mmseg.registry import HOOKS

from ...utils.model import unwrap
from ...utils.settings import check_integers
from .best_weights import best_path, hook_that_saves_best, reload_weights

TEACHERS = ('checkpoint', 'student')
STATE = 'reload_best'  # of the message hub, which checkpoints hold


@HOOKS.register_module()
class ReloadBestHook(Hook):
    """Go back to the best checkpoint after ``patience`` iterations without progress.

    If a validation finds that the best score and the last reload are both at least
    ``patience`` iterations ago, the weights of the best checkpoint are loaded: all
    networks with their buffers, teachers included, and the parameters and BatchNorm
    statistics of everything else, such as projectors. Optimizer, schedules and
    iteration go on as they are, and so do memory banks, class counts and the number of
    teacher updates. There is no reload after the last iteration.

    Add it to ``custom_hooks``, with ``default_hooks.checkpoint.save_best`` set to the
    metric.

    Args:
        patience: Number of iterations without a better score before a reload, at least
            1.
        metric: Metric of the best checkpoint, one that
            ``default_hooks.checkpoint.save_best`` names.
        teacher: Weights of the teachers after a reload: ``'checkpoint'``, those in the
            checkpoint, or ``'student'``, copies of the reloaded students.
    """

    priority = 'LOW'  # a checkpoint that is saved after a validation has the state
    why_once = 'the weights would go back twice'

    def __init__(
        self,
        patience: int,
        metric: str = 'student/mIoU',
        teacher: str = 'checkpoint',
    ) -> None:
        check_integers(1, patience=patience)
        if teacher not in TEACHERS:
            raise ValueError(f'teacher must be in {TEACHERS}, but got {teacher!r}')
        self.teacher = teacher
        self.patience = patience
        self.metric = metric
        self._checkpoints: CheckpointHook | None = None

    def before_train(self, runner) -> None:
        self._checkpoints = hook_that_saves_best(runner, self.metric, 'ReloadBestHook')
        model = unwrap(runner.model)
        if self.teacher == 'student' and not getattr(model, 'has_teachers', False):
            raise ValueError(
                "ReloadBestHook makes teachers of students by teacher='student', but "
                f"{type(model).__name__} has no teacher: leave teacher at 'checkpoint'"
            )
        # iterations of the best score and the last reload; due: it is not done yet
        start = dict(best=runner.iter, reloaded=0, due=False)
        self._state = dict(start, **runner.message_hub.get_info(STATE, {}))
        runner.message_hub.update_info(STATE, self._state)

    def before_train_epoch(self, runner) -> None:
        self._reload_if_due(runner)  # where the run was stopped before it did

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        if self._checkpoints is None:  # no training
            return
        if self.metric not in (metrics or {}):
            raise ValueError(
                f'metric of ReloadBestHook must be in {sorted(metrics or {})}, '
                f'but got {self.metric!r}'
            )
        if self._is_better(runner, metrics[self.metric]):
            self._state['best'] = runner.iter
        age = runner.iter - max(self._state['best'], self._state['reloaded'])
        last = runner.iter >= runner.max_iters
        self._state['due'] = age >= self.patience and not last

    def after_val(self, runner) -> None:
        self._reload_if_due(runner)  # the checkpoint hook has seen the scores

    def after_train(self, runner) -> None:
        self._checkpoints = None

    def _is_better(self, runner, score: float) -> bool:
        """Whether the score is a new best, as the checkpoint hook will find."""
        hook = self._checkpoints
        names = hook.key_indicators
        key = 'best_score' if len(names) == 1 else f'best_score_{self.metric}'
        worst = hook.init_value_map[hook.rules[names.index(self.metric)]]
        best = runner.message_hub.get_info(key, worst)
        return hook.is_better_than[self.metric](score, best)

    def _reload_if_due(self, runner) -> None:
        if self._checkpoints is None or not self._state['due']:
            return
        path = best_path(self._checkpoints, self.metric)
        if path is None:  # no score was a number
            return
        model = unwrap(runner.model)
        reload_weights(model, path)
        if self.teacher == 'student':
            model.copy_to_teacher(restart=False)
        self._state.update(due=False, reloaded=runner.iter)
        runner.logger.info(
            f'no better {self.metric} since iteration {self._state["best"]}: at '
            f'iteration {runner.iter} the weights of {path} are taken again'
        )
