"""When teachers are updated, and by how much."""

from mmseg.registry import HOOKS

from ...functional.schedules import ema_decay
from ...utils.model import unwrap
from ...utils.profiling import stage
from ...utils.settings import errors_name
from .step_hook import StepHook


@HOOKS.register_module()
class MeanTeacherHook(StepHook):
    """Update the EMA teachers of a method after each optimizer step.

    After step t: teacher = d(t) * teacher + (1 - d(t)) * student. Note that ``decay``
    is the weight of the *old* teacher (MMEngine's ``momentum`` is 1 - decay). When a
    new run starts the teacher becomes a full copy of the student, whatever was loaded
    into it, and t is 0. The model counts t (``model.teacher_updates``), and checkpoints
    hold it.

    A config with a teacher must have this hook in ``custom_hooks``; it is an error at
    the start if it is missing.

    Args:
        decay: Weight d of the old teacher in an update, in [0, 1].
        warmup: Upper bound of the decay, which lets the teacher follow fast in the
            first steps: ``'1/(t+1)'`` stands for 1 - 1/(t+1), ``'1/(10t+1)'`` for 1 -
            1/(10t+1), where t is the number of updates before, 0 at first; None: no
            bound.
        anneal: Change of the decay over the run: ``'cosine'`` raises it from ``decay``
            at the start to 1 at the end; None: it is constant.
    """

    priority = 'NORMAL'
    why_once = 'the teacher would be updated twice a step'

    def __init__(
        self,
        decay: float = 0.99,
        warmup: str | None = '1/(t+1)',
        anneal: str | None = None,
    ) -> None:
        with errors_name('MeanTeacherHook'):  # bad settings are refused here
            ema_decay(0, 1, decay, warmup, anneal)
        self.decay = decay
        self.warmup = warmup
        self.anneal = anneal

    def before_train(self, runner) -> None:
        super().before_train(runner)
        model = unwrap(runner.model)
        if not any(pair.teacher is not None for pair in getattr(model, 'pairs', ())):
            raise ValueError(
                f'MeanTeacherHook moves a teacher, but {type(model).__name__} has none'
            )
        if runner.iter == 0:
            model.copy_to_teacher()

    @stage('EMA update')
    def after_step(self, runner) -> None:
        model = unwrap(runner.model)
        done, total = model.teacher_updates, runner.max_iters
        model.update_teacher(
            ema_decay(done, total, self.decay, self.warmup, self.anneal)
        )
