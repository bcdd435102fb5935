"""Settings that name a metric, compared with what validation will give."""

from mmengine.hooks import EarlyStoppingHook

from ...evaluation.metric_names import check_metric


def check_monitors(runner) -> None:
    """Raise ValueError where early stopping or a schedule waits for no metric."""
    for hook in runner.hooks:
        if isinstance(hook, EarlyStoppingHook):
            check_metric(runner.val_loop, 'monitor of EarlyStoppingHook', hook.monitor)
    schedulers = runner.param_schedulers or ()
    if isinstance(schedulers, dict):
        schedulers = [one for group in schedulers.values() for one in group]
    for scheduler in schedulers:
        if getattr(scheduler, 'need_val_args', False):
            setting = f'monitor of {type(scheduler).__name__}'
            check_metric(runner.val_loop, setting, scheduler.monitor)
