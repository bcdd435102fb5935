"""Whether, and from when on, a run saves checkpoints."""

from mmengine.hooks import CheckpointHook

from ...evaluation.metric_names import check_metric


def check_save_settings(hook: CheckpointHook, runner) -> None:
    """Raise ValueError where nothing would be saved by a setting, or no best."""
    if hook.by_epoch and hasattr(runner.train_loop, 'streams'):
        raise ValueError(
            'the checkpoint hook counts epochs, but SemiTrainLoop counts iterations: '
            'set default_hooks.checkpoint.by_epoch=False, and interval in iterations'
        )
    names = [name for name in hook.save_best or () if name != 'auto']
    if hook.save_best and runner.val_loop is None:
        runner.logger.warning(
            f'there is no validation: save_best={hook.save_best} saves nothing'
        )
    elif names:
        for name in names:
            check_metric(runner.val_loop, 'save_best of SafeCheckpointHook', name)


def validates_after(runner, iters: int) -> bool:
    """Whether the loop validates after ``iters`` iterations, where it can tell."""
    tells = getattr(runner.train_loop, 'validates_after', None)
    return tells is not None and tells(iters)


def log_first_save(hook: CheckpointHook, runner) -> None:
    """Say from when on a run that is stopped can be resumed."""
    if hook.by_epoch:
        return
    last = runner.max_iters
    steps = range(1, last + 1)
    first = next((i for i in steps if _saves_after(hook, runner, i)), None)
    if first is None:
        runner.logger.warning(
            f'no checkpoint will be saved in {last} iterations: set '
            'default_hooks.checkpoint.interval, or save_last=True'
        )
    else:
        runner.logger.info(
            f'the first checkpoint is saved after iteration {first} of {last}: a run '
            'that is stopped before leaves nothing to go on from'
        )


def _saves_after(hook: CheckpointHook, runner, iters: int) -> bool:
    since = iters - hook.save_begin
    by_interval = hook.interval > 0 and since > 0 and since % hook.interval == 0
    at_end = hook.save_last and iters == runner.max_iters
    saves = hook.interval > 0 or hook.save_last
    by_validation = saves and validates_after(runner, iters)
    return by_interval or at_end or by_validation
